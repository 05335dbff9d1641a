# SPDX-License-Identifier: Apache-2.0
"""Figures to Markdown and plots.

A ratio is that of one round, where both were measured one right after the other; shown is the median
of the rounds, with the lowest and the highest.
"""
import json
import os
import platform
import statistics
import subprocess
import sys
import time

try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    plt = None

NAMES = {"durable": "cfsgate, durable", "relaxed": "cfsgate, relaxed", "original": "original",
         "empty": "empty FUSE", "disk": "the disk alone", "ring": "the ring alone"}
COLOURS = {"durable": "#1b6ca8", "relaxed": "#7fb3d5", "original": "#d9822b", "empty": "#999999",
           "disk": "#444444"}


# --- Figures ---

def median(results, key="per_second"):
    return statistics.median(result[key] for result in results)


def ratios(ours, theirs, key="per_second"):
    """By round; more is better for us, also where `key` is a time."""
    pairs = [(one[key], other[key]) for one, other in zip(ours, theirs)]
    if key == "per_second":
        return [one / other for one, other in pairs if other]
    return [other / one for one, other in pairs if one]


def number(value, digits=3):
    """Readable: three digits that count, no exponent."""
    if value is None:
        return "–"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def ratio_text(found):
    if not found:
        return "–"
    return f"**{statistics.median(found):.2f}** ({min(found):.2f}–{max(found):.2f})"


def verdict(value, aim, at_most=False):
    """How a figure compares with what was aimed at."""
    if aim is None or value is None:
        return ""
    good = value <= aim if at_most else value >= aim
    return "yes" if good else "**no**"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def case_name(case):
    workload, threads = case
    return f"{workload}, {threads}"


def rates(results, names):
    """All cases: operations a second and latencies of each subject."""
    rows = []
    for case, found in results.items():
        row = [case_name(case)]
        for name in names:
            mine = found.get(name)
            row.append(f"{number(median(mine))} ({number(median(mine, 'p50_us'))} / "
                       f"{number(median(mine, 'p99_us'))})" if mine else "–")
        rows.append(row)
    return table(["what, threads"] + [NAMES[name] for name in names], rows)


def processor_times(results, names):
    """That of the servers, for each operation: what stays the same on a busy machine."""
    rows = [[case_name(case), *(number(median(found[name], "processor_us")) if name in found else "–"
                                for name in names)]
            for case, found in results.items() if any(name in found for name in names)]
    return table(["what, threads"] + [NAMES[name] for name in names], rows)


def comparison(results, ours, theirs, aims):
    """`aims`: {case: (least ratio, key)}, in the order shown; key as in ratios()."""
    rows = []
    for case, (aim, key) in aims.items():
        found = results.get(case, {})
        if ours not in found or theirs not in found:
            continue
        by_round = ratios(found[ours], found[theirs], key)
        what = case_name(case) + ("" if key == "per_second" else f", {key[:3]}")
        rows.append([what, ratio_text(by_round), f"≥ {aim}" if aim else "",
                     verdict(statistics.median(by_round) if by_round else None, aim)])
    return table(["what, threads", f"{NAMES[ours]} : {NAMES[theirs]}", "aim", "met"], rows)


# --- The machine ---

def output_of(*command):
    try:
        return subprocess.run(command, text=True, capture_output=True, check=False).stdout.strip()
    except OSError:
        return ""


def machine(options):
    """Where it ran, and how busy that was."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")),
                     platform.machine())
    kind = output_of("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", options.directory)
    with open("/proc/loadavg", encoding="ascii") as file:
        busy = " ".join(file.read().split()[:3])
    return {"date": time.strftime("%Y-%m-%d %H:%M"), "cpu": f"{os.cpu_count()} × {model}",
            "kernel": platform.release(), "disk": " ".join(kind.split()), "load average": busy,
            "command": " ".join(sys.argv), "rounds": options.rounds, "seconds": options.seconds}


# --- Files ---

class Report:
    """Collects text and plots in a directory."""

    def __init__(self, options, title):
        self.directory = options.report
        self.options = options
        self.parts = [f"# {title}\n"]
        self.raw = {"before": machine(options)}
        if plt is None:
            self.parts.append("Without plots: python3-matplotlib is not installed.\n")

    def add(self, text):
        self.parts.append(text)

    def add_machine(self):
        """At the end: so the load of the machine before and after is known."""
        self.raw["after"] = machine(self.options)
        before, after = self.raw["before"], self.raw["after"]
        rows = [[key, before[key] if before[key] == after[key] else f"{before[key]} – {after[key]}"]
                for key in before]
        self.parts.insert(1, table(["", ""], rows))

    def plot(self, name, caption, draw, size=(9, 5)):
        """`draw(axes)`; does nothing where nothing can be drawn."""
        if plt is None:
            return
        figure, axes = plt.subplots(figsize=size)
        draw(axes)
        figure.tight_layout()
        figure.savefig(os.path.join(self.directory, f"{name}.png"), dpi=110)
        plt.close(figure)
        self.parts.append(f"![{caption}]({name}.png)\n\n{caption}\n")

    def write(self, name="report"):
        self.add_machine()
        path = os.path.join(self.directory, f"{name}.md")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(self.parts))
        with open(os.path.join(self.directory, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(self.raw, file)
        print("\n".join(self.parts))
        print(f"written to {path}", file=sys.stderr)


def with_text_keys(results):
    """For JSON."""
    return {case_name(case): found for case, found in results.items()}


# --- Plots ---

def bars(results, names):
    """Operations a second of all cases, by subject; the scale is logarithmic."""
    cases = [case for case, found in results.items() if any(name in found for name in names)]

    def draw(axes):
        width = 0.8 / len(names)
        for index, name in enumerate(names):
            there = [(position, found[name]) for position, found in
                     enumerate(results[case] for case in cases) if name in found]
            axes.bar([position + (index - (len(names) - 1) / 2) * width for position, _ in there],
                     [median(found) for _, found in there], width, label=NAMES[name],
                     color=COLOURS[name])
        axes.set_yscale("log")
        axes.set_ylabel("operations a second")
        axes.set_xticks(range(len(cases)), [case_name(case) for case in cases], rotation=60,
                        ha="right", fontsize=8)
        axes.legend(fontsize=8, ncols=len(names))
        axes.grid(axis="y", alpha=0.3)
    return draw


def ratio_bars(results, ours, theirs, aims):
    """One line for each case: median, lowest and highest round, and the aim."""
    found = []
    for case, (aim, key) in aims.items():
        both = results.get(case, {})
        if ours in both and theirs in both:
            by_round = ratios(both[ours], both[theirs], key)
            if by_round:
                found.append((case_name(case) + ("" if key == "per_second" else f" {key[:3]}"), aim,
                              by_round))
    found.reverse()

    def draw(axes):
        for position, (_, aim, by_round) in enumerate(found):
            middle = statistics.median(by_round)
            colour = "#999999" if aim is None else "#1b6ca8" if middle >= aim else "#b03a2e"
            axes.barh(position, middle, color=colour)
            axes.plot([min(by_round), max(by_round)], [position, position], color="black", lw=1)
            if aim is not None:
                axes.plot([aim, aim], [position - 0.45, position + 0.45], color="black", lw=2.5)
        axes.set_xscale("log")
        marks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
        low, high = axes.get_xlim()
        marks = [mark for mark in marks if low <= mark <= high]
        axes.set_xticks(marks, [f"{mark:g}×" for mark in marks])
        axes.set_xticks([], minor=True)
        axes.axvline(1, color="black", lw=0.8)
        axes.set_yticks(range(len(found)), [name for name, _, _ in found], fontsize=8)
        axes.set_xlabel(f"{NAMES[ours]} : {NAMES[theirs]}; thick mark: the aim; red: missed; grey: without one")
        axes.grid(axis="x", alpha=0.3)
    return draw


def distributions(results, case, names):
    """What share of operations takes no longer than that, over all rounds."""
    def draw(axes):
        for name in names:
            counts = {}
            for result in results.get(case, {}).get(name, []):
                for upper, count in result["histogram"]:
                    counts[upper] = counts.get(upper, 0) + count
            total = sum(counts.values())
            if not total:
                continue
            seen, xs, ys = 0, [], []
            for upper in sorted(counts):
                seen += counts[upper]
                xs.append(upper)
                # From the far end, so that the tail can be seen.
                ys.append(max(1 - seen / total, 0.5 / total))
            axes.plot(xs, ys, label=NAMES[name], color=COLOURS[name], drawstyle="steps-post")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("microseconds")
        axes.set_ylabel("share of operations that take longer")
        axes.set_title(case_name(case), fontsize=10)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    return draw


def curves(series, x_label, y_label, log_x=False):
    """`series`: {name: ([x], [y])}"""
    def draw(axes):
        for name, (xs, ys) in series.items():
            axes.plot(xs, ys, marker="o", label=NAMES.get(name, name), color=COLOURS.get(name))
        if log_x:
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return draw
