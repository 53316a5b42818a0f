// A file that a run wrote is told from another one of its name by how it begins.
#include "run/run_files.h"

#include <chrono>

#include "base/files.h"
#include "report/page.h"
#include "run/kept_recipe.h"
#include "store/safetensors.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

void make_out(const fs::path& out) {
  std::error_code error;
  fs::create_directories(out, error);
  HYPENET_CHECK(!error && fs::is_directory(out), "--out ", out.string(),
                ": cannot make the folder: ", error ? error.message() : "a file has its name");
}

}  // namespace

fs::path default_out(const fs::path& recipe) { return fs::path("out") / recipe.stem(); }

void check_run_file(const fs::path& path) {
  HYPENET_CHECK(fs::is_regular_file(fs::symlink_status(path)), path.string(),
                ": expected a file of an earlier run, found something else");
  const std::string name = path.filename().string();
  if (name.ends_with(kStateEnding)) {
    HYPENET_CHECK(SafetensorsFile(path).metadata().contains("settings"), path.string(),
                  ": expected a saved training state, found other tensors");
  } else if (name == "results.json") {
    const Json json = read_json(path);
    HYPENET_CHECK(
        json.is_object() && (json.contains("attention_layers") || json.contains("settings")),
        path.string(), ": expected the results of a conversion, found other JSON");
  } else if (name == "tokens.json") {
    const Json json = read_json(path);
    HYPENET_CHECK(json.is_object() && json.contains("train") && json.contains("validation"),
                  path.string(), ": expected the names of a run's texts, found other JSON");
  } else if (name == "report.html") {
    const std::string text = read_file(path);
    HYPENET_CHECK(text.starts_with("<!doctype html>") && text.find(kReportMark) != text.npos,
                  path.string(), ": expected the report of a conversion, found another page");
  } else if (name == "metrics.jsonl") {
    const std::string text = read_file(path);
    HYPENET_CHECK(text.empty() || text.starts_with("{\"stage\":"), path.string(),
                  ": expected the metrics of a run, found another file");
  } else if (name.ends_with(".journal")) {
    const std::string text = read_file(path);
    HYPENET_CHECK(text.empty() || text.starts_with("{\"hypenet_journal\""), path.string(),
                  ": expected the journal of a sweep, found another file");
  }
}

void check_shared_disk(const RunOptions& options) {
  Communicator& ranks = *options.communicator;
  if (ranks.ranks().count == 1) return;
  std::string name;
  if (options.is_first_rank()) {
    make_out(options.out);
    // A name that no rank has asked its disk for yet, so that none remembers that it was not there.
    name = concat(".ranks-", std::chrono::system_clock::now().time_since_epoch().count());
    write_file(options.out / name, "");
  }
  const fs::path file = options.out / ranks.gather_bytes(name).front();
  std::error_code error;
  const bool is_seen = fs::exists(file, error);
  ranks.barrier();
  if (options.is_first_rank()) fs::remove(file, error);
  HYPENET_CHECK(is_seen, "--out ", options.out.string(),
                ": expected a folder on a disk that all ranks share, found no file that the first "
                "rank has just made there");
}

FolderLock prepare_out(const RunOptions& options) {
  const fs::path& out = options.out;
  make_out(out);
  FolderLock lock = options.is_first_rank() ? FolderLock(out) : FolderLock();
  for (const char* file : {"recipe.json", "metrics.jsonl", "results.json", "report.html"})
    check_writable(out / file);
  for (const char* file :
       {"metrics.jsonl", "results.json", "report.html", "tokens.json", "3-select.journal"}) {
    if (fs::exists(fs::symlink_status(out / file))) check_run_file(out / file);
  }
  check_kept_recipe(out);
  return lock;
}

}  // namespace hypenet
