#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The man pages: builds them, and checks them against what the programs say of themselves.

In docs/man/cfsgate.1.in the words @COMMANDS@ and @COMMON_OPTIONS@ stand for what the help of the
command prints; the rest of the pages is written by hand. `check` prints one line for each option,
key or command that a program has and its page does not, or the other way round, and for each
warning of groff; exit code 1 then.
"""
import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = os.path.join(REPOSITORY, "docs/man")
DEFAULT_CONFIG = os.path.join(REPOSITORY, "etc/cfsgate.conf")
PAGES = ("cfsgate.1", "cfsgate.conf.5", "cfsgated.8")
COMMON_FROM = 4  # options of so many commands stand in a list of their own
# For the command line alone, as docs/daemon.md says.
NOT_IN_FILE = {"--foreground", "--config", "--use", "--unmount-dead", "--help", "--version"}


# --- What the programs say ---

class Option:
    """An option as help shows it."""

    def __init__(self, short, name, value, text):
        self.short = short  # such as "-n", or ""
        self.name = name  # such as "--count"
        self.value = value  # such as "COUNT (=3)", or ""
        self.text = text

    def key(self):
        return self.short, self.name, self.value, self.text


def parse_options(text):
    """The options in a help text, in their order."""
    options = []
    for line in text.splitlines():
        if re.match(r"  -", line):
            head, _, description = line.strip().partition("  ")
            match = re.fullmatch(r"(?:(-\w) \[ )?(--[\w.-]+)(?: \])?(.*)", head)
            if not match:
                raise ValueError(f"an option that is not understood: {line!r}")
            options.append(Option(match[1] or "", match[2], match[3].strip(), description.strip()))
        elif options and re.match(r" {10}", line):
            options[-1].text = f"{options[-1].text} {line.strip()}".strip()
    return options


class Command:
    """A subcommand with its help."""

    def __init__(self, name, text):
        usage, self.summary, *_ = text.splitlines()
        self.name = name
        self.operands = usage.partition("[OPTION...]")[2].strip()
        self.options = parse_options(text)


def help_of(program, *words):
    done = subprocess.run([program, *words, "--help"], stdout=subprocess.PIPE, timeout=60, check=True)
    return done.stdout.decode()


def command_names(text):
    """The names in the help of the whole program; some are of two words."""
    names = re.findall(r"^  ([a-z][\w-]*(?: [a-z][\w-]*)?)  *[A-Z]", text, re.MULTILINE)
    if not names:
        raise ValueError("the help of cfsgate lists no commands")
    return names


def read_commands(program):
    return [Command(name, help_of(program, *name.split()))
            for name in command_names(help_of(program))]


# --- Building ---

def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def tag_of(option):
    names = [name for name in (option.short, option.name) if name]
    value = f" \\fI{escape(option.value)}\\fR" if option.value else ""
    return ", ".join(f"\\fB{escape(name)}\\fR" for name in names) + value


def option_lines(option):
    return [".TP", tag_of(option), escape(option.text[:1].upper() + option.text[1:] + ".")]


def common_options(commands):
    """What several commands have in the same words: its key, and whose it is."""
    owners = {}
    for command in commands:
        for option in command.options:
            owners.setdefault(option.key(), []).append(command.name)
    return {key: names for key, names in owners.items() if len(names) >= COMMON_FROM}


def command_lines(command, common):
    operands = f" \\fI{escape(command.operands)}\\fR" if command.operands else ""
    lines = [".TP", f"\\fB{escape(command.name)}\\fR{operands}", escape(command.summary)]
    own = [option for option in command.options if option.key() not in common]
    if own:
        lines.append(".RS")
        for option in own:
            lines += option_lines(option)
        lines.append(".RE")
    return lines


def whose(having, lacking):
    """Which commands have an option, in the shorter of two ways."""
    if not lacking:
        return "Of every command."
    names, word = (having, "Of") if len(having) < len(lacking) else (lacking, "Not of")
    return f"{word}: {', '.join(names)}."


def common_option_lines(commands, common):
    lines = []
    for key, having in common.items():
        lacking = [command.name for command in commands if command.name not in having]
        lines += option_lines(Option(*key)) + [escape(whose(having, lacking))]
    return lines


def render(page, version, commands):
    """The text of a page."""
    with open(f"{SOURCES}/{page}.in", encoding="utf-8") as file:
        text = file.read()
    text = text.replace("@VERSION@", version)
    if "@COMMANDS@" in text:
        common = common_options(commands)
        lines = [line for command in commands for line in command_lines(command, common)]
        text = text.replace("@COMMANDS@", "\n".join(lines))
        text = text.replace("@COMMON_OPTIONS@", "\n".join(common_option_lines(commands, common)))
    return text


def build(output, program, version):
    os.makedirs(output, exist_ok=True)
    commands = read_commands(program)
    for page in PAGES:
        data = render(page, version, commands).encode()
        with open(f"{output}/{page}.gz", "wb") as file:
            # Without name and time, so that the same text is the same file.
            with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
                packed.write(data)


# --- Checking ---

def plain(line):
    """Without macro, fonts, quotes and escapes."""
    line = re.sub(r"^\.[A-Z]+ ", "", line)
    line = re.sub(r"\\f[A-Z]", "", line).replace("\\-", "-").replace("\\&", "")
    return line.replace('"', "")


def options_in(text):
    """The long options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text))


def tags_in(page):
    """The lines after .TP, and under which .SS they stand."""
    tags = []
    section = ""
    lines = page.splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        if line.startswith((".SS", ".SH")):
            section = plain(line)
        if line == ".TP":
            tags.append((section, plain(following)))
    return tags


def compare(what, program, page):
    """One line for each member of one set that is not in the other."""
    for name in sorted(program - page):
        yield f"{what}: {name}: the program has it, the text does not"
    for name in sorted(page - program):
        yield f"{what}: {name}: the text has it, the program does not"


def check_daemon(page, options):
    tagged = {option for _, tag in tags_in(page) for option in options_in(tag)}
    yield from compare("cfsgated.8", {option.name for option in options}, tagged)
    short = {word for _, tag in tags_in(page) for word in re.findall(r"(?<![\w-])-\w\b", tag)}
    yield from compare("cfsgated.8", {option.short for option in options if option.short}, short)


def settings_of(options):
    return {option.name.removeprefix("--") for option in options if option.name not in NOT_IN_FILE}


def check_file_page(page, options):
    tagged = set()
    for section, tag in tags_in(page):
        match = re.match(r"([\w-]+) +=(?= )", tag)
        if match:
            tagged.add(f"export.{match[1]}" if section == "[export]" else match[1])
    yield from compare("cfsgate.conf.5", settings_of(options), tagged)


def check_default_file(text, options):
    """The default file names each key, in a comment or not."""
    keys = set()
    prefix = ""
    for line in text.splitlines():
        if line.startswith("["):
            prefix = line.strip("[]") + "."
        match = re.match(r"#?([a-z][\w-]*) =", line)
        if match:
            keys.add(prefix + match[1])
    yield from compare("etc/cfsgate.conf", settings_of(options), keys)


def check_command_page(page, commands):
    """What is generated is complete; what is written by hand names nothing that there is not."""
    tags = {tag.split("[")[0].strip() for _, tag in tags_in(page)}
    for command in commands:
        usage = f"{command.name} {command.operands}".strip()
        if usage.split("[")[0].strip() not in tags:
            yield f"cfsgate.1: {command.name}: no such entry"
    known = {option.name for command in commands for option in command.options}
    yield from compare("cfsgate.1", known | {"--version"}, options_in(plain_text(page)))


def exit_codes(text):
    """The numbers after "Exit codes:" in the help: "0 done, 1 failed, ..."."""
    return set(re.findall(r"(\d) \w", text.partition("Exit codes:")[2]))


def check_exit_codes(page, text):
    tagged = {tag for section, tag in tags_in(page) if section == "EXIT STATUS"}
    yield from compare("cfsgate.1, exit status", exit_codes(text), tagged)


def plain_text(page):
    return "\n".join(plain(line) for line in page.splitlines())


def check_markup(name, page):
    """What groff warns of."""
    if not shutil.which("groff"):
        return
    done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", "-K", "utf8"],
                          input=page.encode(), stderr=subprocess.PIPE, timeout=60, check=False)
    for line in done.stderr.decode().splitlines():
        yield f"{name}: {line}"


def check_all(pages, config, options, commands, overview):
    found = list(check_daemon(pages["cfsgated.8"], options))
    found += check_file_page(pages["cfsgate.conf.5"], options)
    found += check_default_file(config, options)
    found += check_command_page(pages["cfsgate.1"], commands)
    found += check_exit_codes(pages["cfsgate.1"], overview)
    for name, page in pages.items():
        found += check_markup(name, page)
    return found


def read_all(arguments):
    commands = read_commands(arguments.cfsgate)
    pages = {page: render(page, arguments.version, commands) for page in PAGES}
    with open(DEFAULT_CONFIG, encoding="utf-8") as file:
        config = file.read()
    return (pages, config, parse_options(help_of(arguments.cfsgated)), commands,
            help_of(arguments.cfsgate))


def check(arguments):
    found = check_all(*read_all(arguments))
    for line in found:
        print(line)
    return 1 if found else 0


# --- The check itself ---

def self_test(arguments):
    """Each kind of mistake is found, and found by its name."""
    pages, config, options, commands, overview = read_all(arguments)

    def expect(what, wanted, **changed):
        text = {**pages, **{name: page for name, page in changed.items() if name in pages}}
        found = check_all(text, changed.get("config", config), changed.get("options", options),
                          changed.get("commands", commands), changed.get("overview", overview))
        if not any(wanted in line for line in found):
            sys.exit(f"self-test: {what}: not found; found: {found}")

    def without(page, words):
        assert words in pages[page], words
        return {page: pages[page].replace(words, "")}

    extra = Option("-x", "--extra", "", "")
    expect("a new option of the daemon", "cfsgated.8: --extra: the program", options=options + [extra])
    expect("a short option", "cfsgated.8: -x: the program", options=options + [extra])
    expect("a new key", "cfsgate.conf.5: extra: the program", options=options + [extra])
    expect("a key in the default file", "etc/cfsgate.conf: extra", options=options + [extra])
    expect("an option that went", "--deadline: the text",
           options=[option for option in options if option.name != "--deadline"])
    expect("an option without a line", "cfsgated.8: --durability",
           **without("cfsgated.8", '.BI \\-\\-durability " durable" | relaxed'))
    expect("a key of the section", "export.allow: the program", **without("cfsgate.conf.5", ".BI allow"))
    expect("a command", "cfsgate.1: extra: no such entry",
           commands=commands + [Command("extra", "Usage: cfsgate extra [OPTION...] PATH\nDoes.")])
    expect("an exit code", "exit status: 9: the program", overview=overview + ", 9 odd.")
    expect("prose about an option", "--extra: the text",
           **{"cfsgate.1": pages["cfsgate.1"] + "\n.B \\-\\-extra\n"})
    if shutil.which("groff"):
        expect("bad markup", "cfsgate.1:", **{"cfsgate.1": pages["cfsgate.1"] + "\n.XYZ\n"})
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["build", "check", "self-test"])
    parser.add_argument("--cfsgate", required=True, help="the program cfsgate")
    parser.add_argument("--cfsgated", help="the program cfsgated; not for build")
    parser.add_argument("--version", default="0", help="the version that the pages name")
    parser.add_argument("--output", help="directory for what is built")
    arguments = parser.parse_args()
    if arguments.action == "build":
        if not arguments.output:
            parser.error("build needs --output")
        return build(arguments.output, arguments.cfsgate, arguments.version)
    if not arguments.cfsgated:
        parser.error(f"{arguments.action} needs --cfsgated")
    return check(arguments) if arguments.action == "check" else self_test(arguments)


if __name__ == "__main__":
    sys.exit(main())
