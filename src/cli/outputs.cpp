// Streams (/dev/stdout) may be shared, and are no files to lose.
#include "cli/outputs.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/files.h"

namespace hypenet {

namespace fs = std::filesystem;

void check_outputs(const std::vector<Output>& outputs, const std::vector<fs::path>& inputs) {
  std::map<fs::path, const char*> flags;
  for (const Output& output : outputs) {
    const auto& flag = output.flag;
    const auto& path = output.path;
    if (!path) continue;
    check_writable(*path);
    if (is_stream(*path)) continue;
    const auto [other, is_own] = flags.emplace(plain_path(*path), flag);
    HYPENET_CHECK(is_own, flag, ": expected another file than ", other->second, ", found ",
                  path->string(), " in both");
    const bool is_read = std::ranges::any_of(inputs, [&](const fs::path& input) {
      std::error_code error;
      return fs::equivalent(*path, input, error);
    });
    HYPENET_CHECK(!is_read, flag, ": expected another file than those that are read, found ",
                  path->string());
  }
}

void tell_written(std::string_view command, const std::vector<Output>& outputs) {
  std::string files;
  for (const auto& [flag, path] : outputs) {
    if (path && !is_stream(*path)) files += concat(files.empty() ? "" : ", ", path->string());
  }
  if (!files.empty()) std::cerr << command << ": wrote " << files << std::endl;
}

fs::path plain_path(const fs::path& path) {
  const fs::path plain = fs::absolute(path).lexically_normal();
  return plain.has_filename() ? plain : plain.parent_path();
}

}  // namespace hypenet
