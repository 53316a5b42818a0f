// Walking folders for documents, and counting what is no document.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file_kind.h"
#include "data/documents.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr const char* kEndingsText = ".txt, .jsonl, .txt.gz, .jsonl.gz or .parquet";

/// ".csv", ".json.gz", "no ending".
std::string ending_of(const fs::path& file) {
  const std::string last = file.extension().string();
  if (last.empty()) return "no ending";
  const bool is_packed = last == ".gz" || last == ".zst" || last == ".bz2" || last == ".xz";
  return is_packed ? file.stem().extension().string() + last : last;
}

/// One folder and all below it.
class Walk {
 public:
  explicit Walk(const fs::path& folder) { add_folder(folder); }

  std::vector<fs::path>& files() { return files_; }

  /// "3 files left alone: .md 2, .csv 1"; empty when none is.
  std::string left_alone() const {
    constexpr size_t kMostKinds = 8;
    if (left_alone_.empty()) return "";
    std::vector<std::pair<int64_t, std::string>> kinds;
    int64_t all = 0;
    for (const auto& [kind, count] : left_alone_) {
      kinds.emplace_back(-count, kind);
      all += count;
    }
    std::ranges::sort(kinds);
    std::string text = concat(all, all == 1 ? " file left alone: " : " files left alone: ");
    for (size_t i = 0; i < std::min(kinds.size(), kMostKinds); ++i) {
      text += concat(i == 0 ? "" : ", ", kinds[i].second, " ", -kinds[i].first);
    }
    return kinds.size() > kMostKinds ? text + " ..." : text;
  }

 private:
  void add_folder(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> entries;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
      entries.push_back(entry->path());
    }
    HYPENET_CHECK(!error, folder.string(), ": cannot read the folder: ", error.message());
    is_new(folder);
    std::ranges::sort(entries);
    for (const fs::path& entry : entries) add(entry);
  }

  void add(const fs::path& path) {
    std::error_code ignored;
    const fs::file_status status = fs::status(path, ignored);
    const bool is_document = !document_ending(path).empty();
    if (path.filename().native().starts_with('.')) {
      ++left_alone_["hidden"];
    } else if (!fs::exists(status)) {
      const std::string kind = kind_of_file(path);
      HYPENET_CHECK(!is_document, path.string(), ": expected a file, found ",
                    kind.empty() ? ignored.message() : kind);
      ++left_alone_["link to a missing file"];
    } else if (!fs::is_directory(status) && !fs::is_regular_file(status)) {
      ++left_alone_["no plain file"];
    } else if (fs::is_regular_file(status) && !is_document) {
      ++left_alone_[ending_of(path)];
    } else if (!is_new(path)) {
      ++left_alone_["listed already"];
    } else if (fs::is_directory(status)) {
      add_folder(path);
    } else {
      files_.push_back(path);
    }
  }

  /// Links may lead to one place several times, or in a circle.
  bool is_new(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return true;
    return seen_.emplace(status.st_dev, status.st_ino).second;
  }

  std::vector<fs::path> files_;
  std::map<std::string, int64_t> left_alone_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

void append_folder(const fs::path& folder, const std::function<void(const std::string&)>& tell,
                   std::vector<fs::path>& files) {
  Walk walk(folder);
  const std::string others = walk.left_alone();
  HYPENET_CHECK(!walk.files().empty(), folder.string(), ": expected files ending in ", kEndingsText,
                ", found none", others.empty() ? "" : "; ", others);
  if (tell && !others.empty()) tell(concat(folder.string(), ": ", others));
  files.insert(files.end(), walk.files().begin(), walk.files().end());
}

}  // namespace

std::vector<fs::path> document_files(const std::vector<fs::path>& paths,
                                     const std::function<void(const std::string&)>& tell) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code ignored;
    const std::string kind = fs::exists(path, ignored) ? "" : kind_of_file(path);
    HYPENET_CHECK(fs::exists(path, ignored), path.string(), ": expected a file or a folder, found ",
                  kind.empty() ? "nothing" : kind);
    if (fs::is_directory(path, ignored)) {
      append_folder(path, tell, files);
    } else {
      HYPENET_CHECK(!document_ending(path).empty(), path.string(), ": expected a file ending in ",
                    kEndingsText, ", found another ending");
      files.push_back(path);
    }
  }
  return files;
}

}  // namespace hypenet
