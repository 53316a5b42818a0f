// Target of the room serve: what is shown of an answer.
#include <cstdlib>

#include "fuzz/target.h"
#include "serve/text/answer_text.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace hypenet::fuzz {
namespace {

const Tokenizer& bytes() {
  static const Tokenizer tokenizer = [] {
    const TemporaryFolder place;
    testing_support::write_byte_tokenizer(place.path());
    return Tokenizer::load(place.path());
  }();
  return tokenizer;
}

/// The answer's text, thoughts and arguments together.
size_t read(std::string_view text, const AnswerSetting& setting) {
  AnswerText answer(bytes(), setting);
  size_t size = 0;
  const auto count = [&](const AnswerText::Step& step) {
    for (const AnswerDelta& delta : step.deltas) size += delta.text.size() + delta.tool_name.size();
  };
  for (const char byte : text) count(answer.push({.id = static_cast<unsigned char>(byte)}));
  count(answer.finish());
  return size;
}

}  // namespace

/// An answer's bytes --- a stop string
void read_answer(std::string_view input) {
  const auto part = parts(input, 2);
  AnswerSetting setting;
  if (!part[1].empty()) setting.stops = {std::string(part[1])};
  for (const ToolFormat format :
       {ToolFormat::kNone, ToolFormat::kHermes, ToolFormat::kLlama3Json, ToolFormat::kQwen3Coder}) {
    for (const bool flag : {false, true}) {
      setting.tools = format;
      setting.has_reasoning = setting.valid_calls = flag;
      // A byte that is no UTF-8 becomes three, a control character in a JSON string six.
      const size_t most = format == ToolFormat::kQwen3Coder ? 6 : 3;
      if (read(part[0], setting) > most * part[0].size()) std::abort();
    }
  }
}

}  // namespace hypenet::fuzz
