// Text that a model made, on its way into a file of JSON lines.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/line_log.h"
#include "data/byte_writer.h"
#include "text/tokenizer.h"

namespace hypenet {

/// A text's beginning, which the model was given, and what it answered.
struct TeacherDocument {
  int64_t id = 0;
  std::vector<int32_t> prompt = {}, answer = {};
};

/// Whether this corpus is there, with these settings in the JSON file beside it (`file`.json).
/// Throws Error when it was made with others, or when a file without them has its name.
bool is_corpus_done(const std::filesystem::path& file, const Json& settings);

/// The corpus being made. What was added is in a journal beside it (`file`.journal), from which the
/// next process goes on; `commit` makes the file appear.
class CorpusFile {
 public:
  /// Goes on from the journal where there is one. Throws Error when it has documents of other
  /// settings, or when another process writes it.
  CorpusFile(std::filesystem::path file, const Json& settings, int64_t max_tokens,
             const Tokenizer& tokenizer);

  /// Adds documents, whose numbers go on where the last ones ended: a line {"text", "prompt", "id",
  /// "tokens"} each, special tokens left out. Answers without text or with invalid UTF-8 are left
  /// out, but for a character that the end cuts off, and so is every document once there are
  /// `max_tokens`. Throws Error when no answer has text in UTF-8.
  void add(const std::vector<TeacherDocument>& documents);

  bool is_full() const { return tokens_ >= max_tokens_; }
  int64_t max_tokens() const { return max_tokens_; }
  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }    // of their prompts and answers
  int64_t next_id() const { return next_id_; }  // of the next document to add

  /// Writes `record` beside the file, with the numbers of documents and tokens; the journal goes.
  void commit(Json record);

 private:
  void read(const std::string& text, const Json& header);
  void count(int64_t id, int64_t tokens);
  std::string line_of(const TeacherDocument& document) const;

  std::filesystem::path file_;
  const Tokenizer& tokenizer_;
  int64_t max_tokens_, documents_ = 0, tokens_ = 0, next_id_ = 0, left_out_in_a_row_ = 0;
  LineLog journal_;
  ByteWriter writer_;
};

}  // namespace hypenet
