// The files that a command writes at its end: looked at before any work is done, told when written.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace hypenet {

struct Output {
  const char* flag = nullptr;                      // "--out"
  std::optional<std::filesystem::path> path = {};  // nullopt: not asked for
};

/// Throws Error where write_file would fail, for a path that two outputs share, and for one of
/// `inputs`, which would be lost.
void check_outputs(const std::vector<Output>& outputs,
                   const std::vector<std::filesystem::path>& inputs = {});

/// A line on standard error: "`command`: wrote a.json, b.svg"; nothing where nothing was asked for.
void tell_written(std::string_view command, const std::vector<Output>& outputs);

/// The path from the root, without ".", ".." and a separator at the end.
std::filesystem::path plain_path(const std::filesystem::path& path);

}  // namespace hypenet
