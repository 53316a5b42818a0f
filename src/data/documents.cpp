// Documents out of files of text, of JSON lines and of Parquet.
#include "data/documents.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "data/byte_reader.h"
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
