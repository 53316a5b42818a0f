// Documents out of files. zlib reads plain and gzip files alike, piece by piece.
#include "data/documents.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "data/documents_parquet.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

using Use = std::function<bool(std::string_view)>;

enum class Kind { kText, kJsonLines, kParquet };

struct Ending {
  std::string_view text;
  Kind kind;
  bool compressed;
};

constexpr std::array<Ending, 5> kEndings = {{{".txt", Kind::kText, false},
                                             {".txt.gz", Kind::kText, true},
                                             {".jsonl", Kind::kJsonLines, false},
                                             {".jsonl.gz", Kind::kJsonLines, true},
                                             {".parquet", Kind::kParquet, false}}};

const Ending* find_ending(const fs::path& file) {
  const std::string name = file.filename().string();
  const auto found = std::ranges::find_if(
      kEndings, [&](const Ending& ending) { return name.ends_with(ending.text); });
  return found == kEndings.end() ? nullptr : found;
}

const Ending& require_ending(const fs::path& file) {
  const Ending* ending = find_ending(file);
  HYPENET_CHECK(ending != nullptr, file.string(),
                ": expected a file ending in .txt, .jsonl, .txt.gz, .jsonl.gz or .parquet, found "
                "another ending");
  return *ending;
}

/// The bytes of a file, plain or gzip, in order. zlib passes plain files through.
class ByteReader {
 public:
  ByteReader(const fs::path& file, bool compressed)
      : name_(file.string()), buffer_(kBufferBytes, '\0') {
    errno = 0;
    file_ = gzopen(file.c_str(), "rb");
    HYPENET_CHECK(file_ != nullptr, name_, ": cannot open: ", std::strerror(errno));
    gzbuffer(file_, kBufferBytes);
    if (compressed && gzdirect(file_) == 1) {
      gzclose_r(file_);
      throw Error(concat(name_, ": expected gzip data, found none"));
    }
  }
  ~ByteReader() { gzclose_r(file_); }
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  /// The next piece; empty at the end. Valid until the next call.
  std::string_view next() {
    const int count = gzread(file_, buffer_.data(), kBufferBytes);
    int status = Z_OK;
    const char* reason = gzerror(file_, &status);
    // zlib reports a gzip file that stops early as Z_BUF_ERROR, beside the bytes it could still
    // read.
    if (status == Z_ERRNO) reason = std::strerror(errno);
    HYPENET_CHECK(count >= 0 && (status == Z_OK || status == Z_STREAM_END), name_,
                  ": expected readable data to the end, found: ", reason);
    return {buffer_.data(), static_cast<size_t>(count)};
  }

 private:
  static constexpr unsigned kBufferBytes = 1 << 18;
  std::string name_, buffer_;
  gzFile file_ = nullptr;
};

/// Calls use(line, number) for each line, without its line feed; numbers start at one.
template <class UseLine>
void for_each_line(ByteReader& reader, const UseLine& use) {
  std::string line;
  int64_t number = 1;
  for (std::string_view piece = reader.next(); !piece.empty(); piece = reader.next()) {
    for (size_t end = piece.find('\n'); end != piece.npos; end = piece.find('\n')) {
      line.append(piece.substr(0, end));
      if (!use(line, number++)) return;
      line.clear();
      piece.remove_prefix(end + 1);
    }
    line.append(piece);
  }
  if (!line.empty()) use(line, number);
}

void use_whole_text(ByteReader& reader, const Use& use) {
  std::string text;
  for (std::string_view piece = reader.next(); !piece.empty(); piece = reader.next())
    text.append(piece);
  use(text);
}

void use_json_lines(ByteReader& reader, const std::string& file, const std::string& text_field,
                    const Use& use) {
  for_each_line(reader, [&](const std::string& line, int64_t number) {
    if (line.find_first_not_of(" \t\r") == line.npos) return true;
    const std::string place = concat(file, ":", number);
    const Json json = parse_json(line, place);
    HYPENET_CHECK(json.is_object(), place, ": expected an object, found ", json_kind(json));
    const auto field = json.find(text_field);
    HYPENET_CHECK(field != json.end(), place, ": expected field ", text_field, ", found none");
    HYPENET_CHECK(field->is_string(), place, ": ", text_field, ": expected a string, found ",
                  json_kind(*field));
    return use(field->get_ref<const std::string&>());
  });
}

void append_folder(const fs::path& folder, std::vector<fs::path>& files) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && find_ending(entry.path()) != nullptr)
      found.push_back(entry.path());
  }
  HYPENET_CHECK(
      !found.empty(), folder.string(),
      ": expected files ending in .txt, .jsonl, .txt.gz, .jsonl.gz or .parquet, found none");
  std::ranges::sort(found);
  files.insert(files.end(), found.begin(), found.end());
}

}  // namespace

void for_each_document(const fs::path& file, const std::string& text_field, const Use& use) {
  const Ending& ending = require_ending(file);
  if (ending.kind == Kind::kParquet) return for_each_parquet_document(file, text_field, use);
  ByteReader reader(file, ending.compressed);
  if (ending.kind == Kind::kText) return use_whole_text(reader, use);
  use_json_lines(reader, file.string(), text_field, use);
}

std::vector<fs::path> document_files(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    HYPENET_CHECK(fs::exists(path), path.string(), ": expected a file or a folder, found nothing");
    if (fs::is_directory(path)) {
      append_folder(path, files);
    } else {
      require_ending(path);
      files.push_back(path);
    }
  }
  return files;
}

}  // namespace hypenet
