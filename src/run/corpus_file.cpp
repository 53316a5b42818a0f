// The journal's first line is {"hypenet_corpus": 1, "settings": ...}; the others are the corpus's.
// They are compressed as they come, so that the end of a long run waits for nothing.
#include "run/corpus_file.h"

#include <string_view>

#include "base/error.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMark = "hypenet_corpus";
constexpr int kVersion = 1;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD, what invalid bytes become
constexpr int64_t kMostLeftOut = 10'000;                   // one after another

fs::path beside(const fs::path& file, const char* ending) { return file.string() + ending; }

void check_same(const fs::path& place, const Json& expected, const Json& found) {
  const std::string difference = first_difference(expected, found);
  HYPENET_CHECK(difference.empty(), place.string(), ": made with other settings (", difference,
                "); remove it or choose another --corpus");
}

/// Without a character that the end of the tokens cuts off.
std::string decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string text = tokenizer.decode(ids, /*skip_special_tokens=*/true);
  if (text.ends_with(kReplacement)) text.resize(text.size() - kReplacement.size());
  return text;
}

bool has_text(std::string_view text) { return text.find_first_not_of(" \t\r\n") != text.npos; }

}  // namespace

bool is_corpus_done(const fs::path& file, const Json& settings) {
  const fs::path record = beside(file, ".json");
  if (!fs::exists(file)) return false;
  if (!fs::exists(record) && fs::exists(beside(file, ".journal"))) return false;
  HYPENET_CHECK(fs::exists(record), file.string(), ": expected a corpus with its settings in ",
                record.filename().string(), ", found no such file");
  const Json json = read_json(record);
  HYPENET_CHECK(json.is_object() && json.contains("settings"), record.string(),
                ": expected the key settings, found none");
  check_same(file, settings, json["settings"]);
  return true;
}

CorpusFile::CorpusFile(fs::path file, const Json& settings, int64_t max_tokens,
                       const Tokenizer& tokenizer)
    : file_(std::move(file)),
      tokenizer_(tokenizer),
      max_tokens_(max_tokens),
      journal_(beside(file_, ".journal")),
      writer_(file_) {
  const Json header = {{kMark, kVersion}, {"settings", settings}};
  const std::string text = journal_.whole_lines(header, "hypenet generate");
  read(text, header);  // before anything is cut: the file may be another's
  journal_.cut(text.size());
  if (text.empty()) journal_.append(header.dump() + "\n");
}

void CorpusFile::read(const std::string& text, const Json& header) {
  int64_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = text.find('\n', at) + 1;
    const std::string_view line = std::string_view(text).substr(at, end - at);
    const std::string place = concat(journal_.path().string(), ":", number);
    const Json json = parse_json(line, place);
    at = end;
    if (number == 1) {
      check_same(journal_.path(), header, json);
      continue;
    }
    HYPENET_CHECK(json.is_object() && json.contains("tokens"), place,
                  ": expected a document with its tokens, found none");
    int64_t id = 0, tokens = 0;
    read_fields(json.value("id", Json()), concat(place, ": id"), id);
    read_fields(json["tokens"], concat(place, ": tokens"), tokens);
    writer_.write(line);
    count(id, tokens);
  }
}

void CorpusFile::count(int64_t id, int64_t tokens) {
  ++documents_;
  tokens_ += tokens;
  next_id_ = id + 1;
}

/// Empty for a document that is left out.
std::string CorpusFile::line_of(const TeacherDocument& document) const {
  std::vector<int32_t> ids = document.prompt;
  ids.insert(ids.end(), document.answer.begin(), document.answer.end());
  const std::string text = decode(tokenizer_, ids), prompt = decode(tokenizer_, document.prompt);
  const bool is_longer = text.size() > prompt.size();
  if (!is_longer || !has_text(std::string_view(text).substr(prompt.size()))) return {};
  if (text.find(kReplacement) != text.npos) return {};
  const Json line = {
      {"text", text}, {"prompt", prompt}, {"id", document.id}, {"tokens", ids.size()}};
  return line.dump() + "\n";
}

void CorpusFile::add(const std::vector<TeacherDocument>& documents) {
  std::string lines;
  for (const TeacherDocument& document : documents) {
    if (is_full()) break;
    const std::string line = line_of(document);
    if (line.empty()) {
      next_id_ = document.id + 1;
      HYPENET_CHECK(++left_out_in_a_row_ < kMostLeftOut, file_.string(),
                    ": expected answers with text in UTF-8, found ", kMostLeftOut, " without");
      continue;
    }
    left_out_in_a_row_ = 0;
    lines += line;
    count(document.id, static_cast<int64_t>(document.prompt.size() + document.answer.size()));
  }
  journal_.append(lines);
  writer_.write(lines);
}

void CorpusFile::commit(Json record) {
  record["documents"] = documents_;
  record["left_out"] = next_id_ - documents_;
  record["tokens"] = tokens_;
  record["mean_tokens"] = static_cast<double>(tokens_) / static_cast<double>(documents_);
  writer_.commit();
  write_json(beside(file_, ".json"), record);
  fs::remove(journal_.path());
}

}  // namespace hypenet
