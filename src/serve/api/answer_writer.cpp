// Which form is written by whom.
#include "serve/api/answer_writer.h"

#include "serve/api/answer_parts.h"

namespace hypenet {

std::string answer_id(AnswerForm form, Random& random) {
  switch (form) {
    case AnswerForm::kChat:
      return random_id("chatcmpl-", random);
    case AnswerForm::kCompletion:
      return random_id("cmpl-", random);
    case AnswerForm::kAnthropic:
      break;
  }
  return random_id("msg_", random);
}

std::unique_ptr<AnswerWriter> answer_writer(AnswerForm form, bool streams, AnswerHead head,
                                            const Tokenizer& tokenizer, Random random) {
  const auto make = [&] {
    switch (form) {
      case AnswerForm::kChat:
        return streams ? chat_stream : whole_chat;
      case AnswerForm::kCompletion:
        return streams ? completion_stream : whole_completion;
      case AnswerForm::kAnthropic:
        break;
    }
    return streams ? anthropic_stream : whole_anthropic;
  }();
  return make(std::move(head), tokenizer, random);
}

}  // namespace hypenet
