// SPDX-License-Identifier: Apache-2.0
#include "clients/arguments.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <boost/program_options.hpp>

#include "clients/exit_code.h"

namespace cfsgate::clients {
namespace {

namespace po = boost::program_options;

po::options_description places() {
    const auto path = [](const char* value) {
        return po::value<std::string>()->value_name("PATH")->default_value(value);
    };
    po::options_description options;
    options.add_options()("control", path(default_paths::kControl), "the daemon's control socket")(
        "state", path(default_paths::kState), "directory of the store")(
        "mount", path(default_paths::kMountPoint), "where the tree is mounted");
    return options;
}

po::options_description config_keys() {
    auto keys = places();
    keys.add_options()("pid-file",
                       po::value<std::string>()->default_value(default_paths::kPidFile));
    return keys;
}

po::options_description visible_options(const Syntax& syntax) {
    po::options_description options("Options");
    options.add_options()("help,h", "print this text")("json", po::bool_switch(),
                                                       "print the answer as JSON")(
        "config", po::value<std::string>()->value_name("FILE"), "the daemon's configuration file");
    if (syntax.name == "status") {
        options.add_options()("checksum", po::bool_switch(), "also the checksum of the tree");
    }
    options.add(places());
    return options;
}

/// The daemon complains of keys that it does not know; here only some matter.
void read_config(const std::string& file, bool required, po::variables_map& values) {
    std::ifstream stream(file);
    std::error_code error;
    if (!stream && (required || std::filesystem::exists(file, error))) {
        throw std::runtime_error(file + ": cannot be read");
    }
    try {
        po::store(po::parse_config_file(stream, config_keys(), true), values);
    } catch (const po::error& refused) {
        throw std::runtime_error(file + ": " + refused.what());
    }
}

EarlyExit help(const Syntax& syntax, const po::options_description& options) {
    std::ostringstream text;
    text << "Usage: cfsgate " << syntax.name << " [OPTION...] " << syntax.operands << "\n"
         << syntax.summary << "\n\n"
         << options;
    return {kOk, text.str(), {}};
}

Arguments to_arguments(const po::variables_map& values) {
    Arguments arguments;
    arguments.json = values["json"].as<bool>();
    arguments.checksum = values.count("checksum") > 0 && values["checksum"].as<bool>();
    arguments.control = values["control"].as<std::string>();
    arguments.state = values["state"].as<std::string>();
    arguments.mount = values["mount"].as<std::string>();
    arguments.pid_file = values["pid-file"].as<std::string>();
    if (values.count("operand") > 0) {
        arguments.operands = values["operand"].as<std::vector<std::string>>();
    }
    return arguments;
}

std::variant<Arguments, EarlyExit> parse(const Syntax& syntax,
                                         const std::vector<std::string>& words) {
    const auto visible = visible_options(syntax);
    po::options_description all;
    all.add(visible).add_options()("operand", po::value<std::vector<std::string>>());
    po::positional_options_description positions;
    positions.add("operand", -1);
    namespace style = po::command_line_style;
    po::variables_map values;
    po::store(po::command_line_parser(words)
                  .options(all)
                  .positional(positions)
                  .style(style::unix_style & ~style::allow_guessing)
                  .run(),
              values);
    if (values.count("help") > 0) return help(syntax, visible);
    const bool named = values.count("config") > 0;
    read_config(named ? values["config"].as<std::string>() : default_paths::kConfig, named, values);
    Arguments arguments = to_arguments(values);
    const std::size_t count = arguments.operands.size();
    if (count < syntax.operands_min || count > syntax.operands_max) {
        throw std::runtime_error("usage: cfsgate " + syntax.name + " " + syntax.operands);
    }
    return arguments;
}

}  // namespace

std::variant<Arguments, EarlyExit> parse_arguments(const Syntax& syntax,
                                                   const std::vector<std::string>& words) {
    try {
        return parse(syntax, words);
    } catch (const std::exception& refused) {
        return EarlyExit{
            kUsage, {}, std::string(refused.what()) + "; see cfsgate " + syntax.name + " --help"};
    }
}

std::string tree_path(const Arguments& arguments, const std::string& operand) {
    if (operand == arguments.mount) return "";
    if (operand.starts_with(arguments.mount + "/")) {
        return operand.substr(arguments.mount.size() + 1);
    }
    return operand;
}

}  // namespace cfsgate::clients
