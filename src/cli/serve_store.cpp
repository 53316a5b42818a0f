// A folder an engine, so that none removes what another knows.
#include "cli/serve_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "cli/numbers.h"
#include "serve/prefix_files.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostByDefault = int64_t{64} << 30;

/// Half of what is free and what is kept there already.
int64_t default_bytes(const fs::path& folder) {
  std::error_code ignored;
  int64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored)) bytes += static_cast<int64_t>(entry.file_size(ignored));
  }
  const auto space = fs::space(folder, ignored);
  if (!ignored) bytes += static_cast<int64_t>(space.available);
  return std::min(bytes / 2, kMostByDefault);
}

/// What more engines than now left, by turns to those that are.
void take_over_others(const fs::path& folder, size_t engines) {
  std::error_code ignored;
  for (size_t other = engines; fs::is_directory(folder / std::to_string(other), ignored); ++other) {
    const fs::path to = folder / std::to_string(other % engines);
    fs::create_directories(to, ignored);
    for (const auto& entry : fs::directory_iterator(folder / std::to_string(other), ignored)) {
      if (entry.path().extension() != ".prefix") continue;
      fs::rename(entry.path(), to / entry.path().filename(), ignored);
    }
    fs::remove(folder / std::to_string(other), ignored);
  }
}

}  // namespace

std::string keep_on_disk(OpenedModel& opened, const fs::path& folder, int64_t bytes) {
  std::error_code error;
  const bool is_new = fs::create_directories(folder, error);
  HYPENET_CHECK(!error && fs::is_directory(folder, error), "--cache-dir: ", folder.string(),
                ": expected a folder that can be made or is one, found ",
                error ? error.message() : "another thing");
  if (is_new) fs::permissions(folder, fs::perms::owner_all, error);  // they are people's texts
  const FolderLock lock(folder);
  if (bytes < 0) bytes = default_bytes(folder);
  const size_t count = opened.engines.size();
  take_over_others(folder, count);
  int64_t pieces = 0, kept = 0;
  size_t others = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto files = std::make_shared<PrefixFiles>(
        folder / std::to_string(i), opened.facts,
        [](const std::string& line) { std::cerr << concat("error: ", line, '\n') << std::flush; });
    opened.engines[i].use_store(files, bytes / static_cast<int64_t>(count));
    const auto disk = opened.engines[i].stats().cache.disk;
    kept += disk.page_bytes + disk.snapshot_bytes, pieces += disk.snapshots;
    others += files->others();
  }
  std::string text =
      fmt::format("hypenet: kept prompts on disk: {} of {} in {}, {} snapshots\n",
                  readable_bytes(kept), readable_bytes(bytes), folder.string(), pieces);
  if (others > 0) {
    text +=
        fmt::format("hypenet: {} files of other models or grids there are left alone\n", others);
  }
  return text;
}

}  // namespace hypenet
