// A path that cannot be looked into is left to the error of reading it.
#include "base/folder_hint.h"

#include <algorithm>
#include <regex>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/join.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "config.json";

/// "Qwen/Qwen3-1.7B": an owner that is no folder here, and a name.
bool is_hub_name(const fs::path& path) {
  static const std::regex kName("[A-Za-z0-9][\\w.-]*/[A-Za-z0-9][\\w.-]*");
  std::error_code ignored;
  return std::regex_match(path.string(), kName) && !fs::exists(path.parent_path(), ignored);
}

/// The folders in it that hold a model; "model", a conversion's result, first.
std::vector<std::string> models_in(const fs::path& folder) {
  std::error_code failed;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    if (fs::exists(entry.path() / kConfig, failed)) names.push_back(entry.path().string());
  }
  std::sort(names.begin(), names.end());
  const auto result = std::find(names.begin(), names.end(), (folder / "model").string());
  if (result != names.end()) names = {*result};
  return names;
}

}  // namespace

void check_model_folder(const fs::path& folder) {
  std::error_code failed;
  const bool is_there = fs::exists(folder, failed);
  if (!is_there && !failed && is_hub_name(folder)) {
    throw Error(concat(folder.string(),
                       ": expected a model folder, found nothing; if it is a model ",
                       "of Hugging Face's hub: hf download ", folder.string(), " --local-dir ",
                       folder.filename().string()));
  }
  const bool is_folder = failed || fs::is_directory(folder, failed);
  if (!is_folder) {
    const std::string kind = kind_of_file(folder);
    const std::string found = kind.empty() ? "" : concat(": ", kind);
    throw Error(concat(folder.string(), ": expected a model folder, found ",
                       is_there       ? concat("a file", found)
                       : kind.empty() ? "nothing"
                                      : kind));
  }
  if (fs::exists(folder / kConfig, failed) || failed) return;
  const std::string inside = join(models_in(folder), ", ");
  HYPENET_CHECK(inside.empty(), folder.string(), ": expected a model folder with a ", kConfig,
                ", found none in it, but in ", inside);
}

}  // namespace hypenet
