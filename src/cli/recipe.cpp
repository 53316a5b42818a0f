// hypenet recipe: what the keys of a recipe are, and what a recipe says once all of them are
// written out.
#include "halo/recipe.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <set>

#include "cli/commands.h"
#include "halo/recipe_keys.h"

namespace hypenet {
namespace {

constexpr const char* kExample = R"(Examples:
  hypenet recipe --list
  hypenet recipe --explain distill.steps
  hypenet recipe --explain save_every
  hypenet recipe --show recipes/tiny.json --set distill.steps=100)";

struct RecipeCommand {
  bool lists = false, is_markdown = false;
  std::string key;
  RecipeSource source;
};

/// Keys of both commands, one entry for those that both have.
std::vector<RecipeKey> all_keys() {
  std::vector<RecipeKey> keys = conversion_keys();
  std::set<std::string> known;
  for (const RecipeKey& key : keys) known.insert(key.path);
  for (RecipeKey& key : training_keys()) {
    if (known.insert(key.path).second) keys.push_back(std::move(key));
  }
  return keys;
}

std::string line(const RecipeKey& key) {
  const bool is_section = key.kind.find("section") != std::string_view::npos;
  return concat(key.path, ": ", key.about, " (", key.kind,
                is_section ? "" : concat(", default ", key.value.dump()), ")\n");
}

/// phases.0.stage.steps is phases.N.stage.steps.
std::string with_number(std::string key) {
  constexpr std::string_view kPhases = "phases.";
  const size_t end = key.find_first_not_of("0123456789", kPhases.size());
  if (key.starts_with(kPhases) && end > kPhases.size())
    key.replace(kPhases.size(), std::min(end, key.size()) - kPhases.size(), "N");
  return key;
}

template <class Matches>
std::string lines_of(const std::vector<RecipeKey>& keys, const Matches& matches) {
  std::string text;
  for (const RecipeKey& key : keys) {
    if (matches(key.path)) text += line(key);
  }
  return text;
}

/// The key, and all of it when it is a section; else keys that end with the name, so that
/// "save_every" finds those of all stages.
std::string explain(const std::string& asked) {
  const std::string name = with_number(asked);
  const auto keys = all_keys();
  std::string text = lines_of(
      keys, [&](const std::string& path) { return path == name || path.starts_with(name + "."); });
  if (!text.empty()) return text;
  text = lines_of(keys, [&](const std::string& path) { return path.ends_with("." + name); });
  if (!text.empty()) return text;
  std::string near;
  for (const RecipeKey& key : keys) {
    if (!name.empty() && key.path.find(name) != std::string::npos)
      near += concat(near.empty() ? "" : ", ", key.path);
  }
  throw Error(concat("--explain: expected a key of a recipe, found \"", asked, "\"; ",
                     near.empty() ? "" : concat("near: ", near, "; "),
                     "hypenet recipe --list names all"));
}

void run(const RecipeCommand& command) {
  const bool shows = !command.source.path.empty();
  const int asked = static_cast<int>(command.lists) + static_cast<int>(command.is_markdown) +
                    static_cast<int>(!command.key.empty()) + static_cast<int>(shows);
  HYPENET_CHECK(asked == 1, "recipe: expected one of --list, --explain, --show and --markdown, ",
                "found ", asked, "; see hypenet recipe --help");
  HYPENET_CHECK(shows || command.source.settings.empty(),
                "--set: has no effect without --show, which prints a changed recipe");
  if (command.lists) {
    std::cout << lines_of(all_keys(), [](const std::string&) { return true; });
  } else if (command.is_markdown) {
    std::cout << recipe_page();
  } else if (shows) {
    std::cout << resolved_recipe(command.source).dump(2) << '\n';
  } else {
    std::cout << explain(command.key);
  }
}

}  // namespace

void add_recipe_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("recipe", "what the keys of a recipe are");
  const auto options = std::make_shared<RecipeCommand>();
  command->add_flag("--list", options->lists, "all keys with their defaults");
  command->add_option("--explain", options->key, "a key, a section, or the last part of a key");
  command->add_option("--show", options->source.path,
                      "recipe file: printed with all keys, defaults included");
  command->add_option("--set", options->source.settings, "with --show: section.key=value")
      ->take_all();
  command->add_flag("--markdown", options->is_markdown, "the page docs/recipe.md");
  command->footer(kExample);
  command->callback([options] { run(*options); });
}

}  // namespace hypenet
