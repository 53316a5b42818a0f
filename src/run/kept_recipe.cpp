// {"command": "convert", "recipe": {...}}: the first key tells it from a recipe that a user wrote.
#include "run/kept_recipe.h"

#include "base/files.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

fs::path file_in(const fs::path& folder) { return folder / "recipe.json"; }

bool is_kept(const Json& json) {
  return json.is_object() && json.contains("command") && json["command"].is_string() &&
         json.contains("recipe");
}

}  // namespace

fs::path kept_recipe(const fs::path& folder, std::string_view command) {
  const fs::path file = file_in(folder);
  const std::string expected =
      concat("--resume ", folder.string(), ": expected the folder of a run, found ");
  HYPENET_CHECK(fs::is_directory(folder), expected, fs::exists(folder) ? "a file" : "nothing");
  HYPENET_CHECK(fs::exists(file), expected,
                "no recipe.json in it (a run of an older program goes on by its own command)");
  const Json json = read_json(file);
  HYPENET_CHECK(is_kept(json), expected, "a recipe.json that no run wrote");
  const auto found = json["command"].get<std::string>();
  HYPENET_CHECK(found == command, expected, "one of another command: hypenet ", found, " --resume ",
                folder.string());
  return file;
}

void check_kept_recipe(const fs::path& folder) {
  const fs::path file = file_in(folder);
  if (!fs::exists(file)) return;
  HYPENET_CHECK(is_kept(read_json(file)), file.string(),
                ": expected none, or one that a run wrote, found another file: choose another "
                "--out");
}

void keep_recipe(const fs::path& folder, std::string_view command, const Json& recipe) {
  check_kept_recipe(folder);
  const Json kept = {{"command", std::string(command)}, {"recipe", recipe}};
  const fs::path file = file_in(folder);
  if (!fs::exists(file) || read_json(file) != kept) write_json(file, kept);
}

}  // namespace hypenet
