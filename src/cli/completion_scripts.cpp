// One form for three shells: words before the cursor say which command it is, the word before says
// whether a value is asked for; else options, commands or files.
#include <functional>

#include "base/error.h"
#include "cli/completions.h"

namespace hypenet {
namespace {

using Commands = std::vector<CompletedCommand>;

/// Single quotes stand around it, in all three shells.
std::string in_quotes(std::string_view text, std::string_view quote) {
  std::string result = "'";
  for (const char c : text) c == '\'' ? result += quote : result += c;
  return result + "'";
}
std::string in_quotes(std::string_view text) { return in_quotes(text, "'\\''"); }

std::string spaced(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// The part that bash and zsh have alike: `command` becomes the one that the words name.
std::string find_command(const Commands& commands, std::string_view words) {
  std::string text = concat("  for word in ", words, "; do\n    case \"$command/$word\" in\n");
  for (const CompletedCommand& command : commands) {
    if (command.path.empty()) continue;
    const bool is_outer = command.path.find('/') == std::string::npos;
    text +=
        concat("      ", is_outer ? "/" : "", command.path, ") command=", command.path, " ;;\n");
  }
  return text + "    esac\n  done\n";
}

/// What the word before the cursor asks for: choices, or files.
std::string find_choices(const Commands& commands, std::string_view before,
                         const std::function<std::string(const std::string&)>& assign,
                         std::string_view complete_files) {
  std::string text = concat("  case \"$command:", before, "\" in\n");
  for (const CompletedCommand& command : commands) {
    for (const CompletedOption& option : command.options) {
      if (!option.takes_value) continue;
      for (const std::string& name : option.names) {
        const std::string action =
            option.choices.empty() ? std::string(complete_files) : assign(spaced(option.choices));
        text += concat("    ", command.path, ":", name, ") ", action, " ;;\n");
      }
    }
  }
  return text + "  esac\n";
}

std::string bash_script(const Commands& commands) {
  std::string text =
      "# Completion of hypenet for bash: hypenet completions bash\n"
      "_hypenet() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
      "  local command= commands= options= choices= word\n"
      "  COMPREPLY=()\n";
  text += find_command(commands, "\"${COMP_WORDS[@]:1:COMP_CWORD - 1}\"");
  text += "  case \"$command\" in\n";
  for (const CompletedCommand& command : commands) {
    std::vector<std::string> options;
    for (const CompletedOption& option : command.options) options.push_back(option.names.front());
    text += concat("    ", command.path.empty() ? "''" : command.path,
                   ") commands=", in_quotes(spaced(command.commands)),
                   " options=", in_quotes(spaced(options)), " ;;\n");
  }
  text += "  esac\n";
  text += find_choices(
      commands, "$before", [](const auto& words) { return "choices=" + in_quotes(words); },
      "return");
  return text +
         "  if [[ -n $choices ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$choices\" -- \"$current\"))\n"
         "  elif [[ $current == -* ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
         "  elif [[ -n $commands ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$commands\" -- \"$current\"))\n"
         "  fi\n"
         "}\n"
         "complete -o default -F _hypenet hypenet hypenet-cuda\n";
}

/// "name:about" for _describe.
std::string described(const std::string& name, const std::string& about) {
  return in_quotes(concat(name, ":", about));
}

const CompletedCommand& below(const Commands& commands, const CompletedCommand& outer,
                              const std::string& name) {
  const std::string path = outer.path.empty() ? name : concat(outer.path, "/", name);
  for (const CompletedCommand& command : commands) {
    if (command.path == path) return command;
  }
  throw Error(concat("completions: expected a command ", path, ", found none"));
}

std::string zsh_script(const Commands& commands) {
  std::string text =
      "#compdef hypenet hypenet-cuda\n"
      "# Completion of hypenet for zsh: hypenet completions zsh\n"
      "_hypenet() {\n"
      "  local command= word\n"
      "  local -a subcommands flags choices\n";
  text += find_command(commands, "${words[2,CURRENT-1]}");
  text += "  case \"$command\" in\n";
  for (const CompletedCommand& command : commands) {
    text += concat("    ", command.path.empty() ? "''" : command.path, ")\n      flags=(\n");
    for (const CompletedOption& option : command.options) {
      for (const std::string& name : option.names) {
        text += concat("        ", described(name, option.about), "\n");
      }
    }
    text += "      )\n      subcommands=(\n";
    for (const std::string& name : command.commands) {
      text += concat("        ", described(name, below(commands, command, name).about), "\n");
    }
    text += "      ) ;;\n";
  }
  text += "  esac\n";
  text += find_choices(
      commands, "${words[CURRENT-1]}", [](const auto& words) { return "choices=(" + words + ")"; },
      "_files; return");
  return text +
         "  if (( $#choices )); then\n"
         "    compadd -a choices\n"
         "  elif [[ $PREFIX == -* ]]; then\n"
         "    _describe -o option flags\n"
         "  elif (( $#subcommands )); then\n"
         "    _describe command subcommands\n"
         "  else\n"
         "    _files\n"
         "  fi\n"
         "}\n"
         "_hypenet \"$@\"\n";
}

std::string fish_option(const CompletedOption& option) {
  std::string text;
  for (const std::string& name : option.names) {
    text +=
        name.starts_with("--") ? concat(" -l ", name.substr(2)) : concat(" -s ", name.substr(1));
  }
  if (option.takes_value) text += option.choices.empty() ? " -r" : " -x";
  if (!option.choices.empty()) text += concat(" -a ", in_quotes(spaced(option.choices), "\\'"));
  return text + concat(" -d ", in_quotes(option.about, "\\'"));
}

std::string fish_script(const Commands& commands) {
  std::string text =
      "# Completion of hypenet for fish: hypenet completions fish\n"
      "function __hypenet_at\n"
      "  set -l command ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$command/$word\"\n";
  for (const CompletedCommand& command : commands) {
    if (command.path.empty()) continue;
    const bool is_outer = command.path.find('/') == std::string::npos;
    text += concat("      case '", is_outer ? "/" : "", command.path, "'\n        set command ",
                   command.path, "\n");
  }
  text +=
      "    end\n"
      "  end\n"
      "  test \"$command\" = \"$argv[1]\"\n"
      "end\n"
      "for program in hypenet hypenet-cuda\n";
  for (const CompletedCommand& command : commands) {
    const std::string at =
        concat("  complete -c $program -n \"__hypenet_at '", command.path, "'\"");
    for (const std::string& name : command.commands) {
      text += concat(at, " -f -a ", name, " -d ",
                     in_quotes(below(commands, command, name).about, "\\'"), "\n");
    }
    for (const CompletedOption& option : command.options) text += at + fish_option(option) + "\n";
  }
  return text + "end\n";
}

}  // namespace

std::string completion_script(const std::vector<CompletedCommand>& commands,
                              std::string_view shell) {
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  HYPENET_CHECK(shell == "fish", "completions: expected bash, zsh or fish, found \"", shell, "\"");
  return fish_script(commands);
}

}  // namespace hypenet
