// Documents out of files of text, of JSON lines and of Parquet.
#include "data/documents.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/json_text.h"
#include "data/byte_reader.h"
#include "data/documents_parquet.h"
#include "data/json_lines.h"

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

/// Plain text may begin with nearly anything; a picture or a program it is not.
void check_is_text(std::string_view text, const std::string& file) {
  const std::string_view beginning = text.substr(0, 512);
  const std::string kind = kind_of_bytes(beginning);
  const auto is = [&](std::string_view name) { return kind.starts_with(name); };
  const bool is_some_text = kind.empty() || is("JSON") || is("an HTML") || is("an XML");
  const bool is_sure = is("a Git LFS") || is("a git-annex") || is("UTF-16") || is("a PDF");
  HYPENET_CHECK(is_some_text || !(is_sure || beginning.find('\0') != beginning.npos), file,
                ": expected text in UTF-8, found ", kind);
}

void use_whole_text(ByteReader& reader, const std::string& file, BadDocuments& bad,
                    const Use& use) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string text;
  for (std::string_view piece = reader.next(); !piece.empty(); piece = reader.next())
    text.append(piece);
  check_is_text(text, file);
  std::string_view document = text;
  if (document.starts_with(kByteOrderMark)) document.remove_prefix(kByteOrderMark.size());
  bad.add_good();
  use(document);
}

std::string names_of_fields(const Json& json) {
  constexpr size_t kMostNames = 10;
  std::string names;
  size_t count = 0;
  for (const auto& [name, unused] : json.items()) {
    if (++count > kMostNames) return names + " ...";
    names += (count > 1 ? ", " : "") + name;
  }
  return names.empty() ? "none at all" : names;
}

/// The field's text, or nothing after `bad` was told why.
const std::string* find_text(const Json& json, const std::string& place,
                             const std::string& text_field, BadDocuments& bad) {
  if (!json.is_object()) {
    bad.add_bad("no object", concat(place, ": expected an object, found ", json_kind(json)));
    return nullptr;
  }
  const auto field = json.find(text_field);
  if (field == json.end()) {
    bad.add_bad(concat("no field ", text_field),
                concat(place, ": expected field ", text_field,
                       ", found none; there are: ", names_of_fields(json)));
    return nullptr;
  }
  if (field->is_string()) return &field->get_ref<const std::string&>();
  bad.add_bad(concat(json_kind(*field), " instead of a string"),
              concat(place, ": ", text_field, ": expected a string, found ", json_kind(*field)));
  return nullptr;
}

void use_json_lines(ByteReader& reader, const std::string& file, const std::string& text_field,
                    BadDocuments& bad, const Use& use) {
  for_each_line(reader, [&](const std::string& line, int64_t number) {
    if (is_blank(line)) return true;
    const std::string place = concat(file, ":", number);
    Json json;
    const std::optional<JsonFault> fault = parse_json_text(line, json);
    if (number == 1 && (fault || !json.is_object())) check_first_line(line, file);
    if (fault) {
      bad.add_bad(fault->kind, describe_json_fault(*fault, line, place));
      return true;
    }
    const std::string* text = find_text(json, place, text_field, bad);
    if (text == nullptr) return true;
    bad.add_good();
    return use(*text);
  });
}

}  // namespace

std::string_view document_ending(const fs::path& file) {
  const Ending* ending = find_ending(file);
  return ending == nullptr ? "" : ending->text;
}

void for_each_document(const fs::path& file, const std::string& text_field, BadDocuments& bad,
                       const Use& use) {
  const Ending& ending = require_ending(file);
  if (ending.kind == Kind::kParquet) return for_each_parquet_document(file, text_field, bad, use);
  ByteReader reader(file, ending.compressed);
  if (ending.kind == Kind::kText) return use_whole_text(reader, file.string(), bad, use);
  use_json_lines(reader, file.string(), text_field, bad, use);
}

void for_each_document(const fs::path& file, const std::string& text_field, const Use& use) {
  BadDocuments none(OnBadDocument::kFail);
  for_each_document(file, text_field, none, use);
}

}  // namespace hypenet
