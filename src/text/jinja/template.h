// The language of chat templates: the part of Jinja that they use, with the environment of
// transformers (trim_blocks, lstrip_blocks, loop controls, lists and dicts that nobody changes).
// A template reads the values that it is given and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// Text of one origin. Only the template's own may become special tokens.
struct JinjaPiece {
  std::string text;
  bool is_given = false;  // it came with a message or another given value
  int64_t message = -1;   // the number of that message, from 0; -1: none
};

/// What one rendering may cost at most; more is an error.
struct JinjaLimits {
  uint64_t turns = 1'000'000;          // of all loops together
  uint64_t text_bytes = 64ULL << 20;   // of the output, and of each text on the way
  uint64_t steps = 10'000'000;         // expressions and statements
  uint64_t items = 4'000'000;          // values put into lists
  uint64_t made_bytes = 512ULL << 20;  // of all texts on the way together
};

/// The variables of a rendering, two objects. Texts in `given` are marked as given, save the role
/// of a message where it is a known one (templates write <|role|> with it).
struct JinjaVariables {
  Json own = Json::object();    // bos_token, add_generation_prompt ...
  Json given = Json::object();  // messages, tools ...
  std::tm now{};                // what strftime_now tells
  JinjaLimits limits = {};
};

namespace jinja {
struct Tree;
}

/// A template that was parsed. Immutable, so it may be shared between threads.
class JinjaTemplate {
 public:
  /// `place` names the text in errors: "place:3:14: expected ..., found ...", by line and column.
  /// Throws Error where it is no Jinja, where it is over 1 MiB or nested deeper than 200, and for a
  /// tag, filter, test, function or method that is not known here, by its name.
  static JinjaTemplate parse(std::string_view text, const std::string& place);

  /// The output in pieces, neighbours of different origin. Throws Error where the template asks for
  /// what is not there, calls raise_exception, or passes a limit.
  std::vector<JinjaPiece> render(const JinjaVariables& variables) const;

 private:
  explicit JinjaTemplate(std::shared_ptr<const jinja::Tree> tree) : tree_(std::move(tree)) {}

  std::shared_ptr<const jinja::Tree> tree_;
};

/// The text of all pieces.
std::string join_pieces(const std::vector<JinjaPiece>& pieces);

}  // namespace hypenet
