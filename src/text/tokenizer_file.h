// tokenizer.json as plain structs: everything that encode and decode need, checked where it enters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace hypenet {

class ModelFiles;  // gguf/model_files.h

/// A token that is found in the text before anything else is done to it.
struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool single_word = false;  // only between characters that are no word characters
  bool lstrip = false;       // takes the white space to its left too
  bool rstrip = false;       // and to its right
  bool normalized = false;   // is looked for after normalisation
  bool special = false;      // is left out by decode(skip_special_tokens)

  template <class Visitor>
  void visit(Visitor&& field) {
    field("id", id);
    field("content", content);
    field("single_word", single_word);
    field("lstrip", lstrip);
    field("rstrip", rstrip);
    field("normalized", normalized);
    field("special", special);
  }
};

enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// One pre-tokenizer. Split, Digits (a Split at \p{N}) and ByteLevel (a Split with GPT-2's
/// expression) are all this.
struct SplitRule {
  std::string place;                   // where the file says so, for errors
  std::optional<std::string> pattern;  // none: nothing is split
  bool is_literal = false;             // the pattern is a text, not an expression
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;            // matches are what lies between
  bool add_prefix_space = false;  // before the split, a piece that has no space in front gets one
};

struct TokenizerFile {
  std::string place;  // the file's path, for errors
  bool nfc = false;
  std::vector<AddedToken> added_tokens;
  std::vector<SplitRule> split_rules;
  std::vector<std::pair<std::string, int32_t>> vocab;       // entries in the byte-level alphabet
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  bool ignore_merges = false;  // a word that is an entry is not merged anew
};

/// pre_tokenizer of a tokenizer.json, which `place` names in errors. Throws Error for what is not
/// built.
std::vector<SplitRule> read_split_rules(const Json& json, const std::string& place);

/// tokenizer.json. Throws Error naming the file and the key when something is missing, malformed or
/// not supported.
TokenizerFile read_tokenizer_file(const ModelFiles& files);

}  // namespace hypenet
