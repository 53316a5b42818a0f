// The answer of /v1/completions, whole and as a stream. It is text and nothing else.
#include "serve/api/answer_parts.h"

namespace hypenet {
namespace {

class WholeCompletion : public WholeAnswer {
 public:
  WholeCompletion(AnswerHead head, const Tokenizer& tokenizer, Random random)
      : WholeAnswer(std::move(head), "call_", tokenizer, random),
        texts_(choices_.size()),
        counters_(choices_.size()),
        logprobs_(choices_.size()) {
    if (!tells_logprobs()) return;
    for (size_t i = 0; i < choices_.size(); ++i) logprobs_[i] = logprobs(i, {});
  }

  std::string delta(int64_t choice, const AnswerDelta& delta) override {
    const auto i = static_cast<size_t>(choice);
    texts_.at(i) += delta.text;
    if (tells_logprobs()) append_completion_logprobs(logprobs_[i], logprobs(i, delta));
    return {};
  }

  std::string finish(const Usage& usage, const Timings& timings) override {
    Json answer = head_json("text_completion");
    Json& list = answer["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      list.push_back({{"index", i},
                      {"text", std::move(texts_[i])},
                      {"logprobs", std::move(logprobs_[i])},
                      {"finish_reason", finish_name(choices_[i].reason, false)}});
    }
    answer["usage"] = usage_json(usage);
    answer["timings"] = timings_json(timings);
    return body_text(answer);
  }

 private:
  Json logprobs(size_t choice, const AnswerDelta& delta) {
    return counters_[choice].add(delta, head_.top_logprobs, tokenizer_);
  }

  std::vector<std::string> texts_;
  std::vector<CompletionLogprobs> counters_;
  std::vector<Json> logprobs_;
};

class CompletionStream : public ChunkStream {
 public:
  CompletionStream(AnswerHead head, const Tokenizer& tokenizer, Random random)
      : ChunkStream(std::move(head), "text_completion", tokenizer, random),
        counters_(static_cast<size_t>(head_.choices)) {}

  std::string begin(int64_t) override { return {}; }

  std::string delta(int64_t choice, const AnswerDelta& delta) override {
    if (is_empty(delta)) return {};
    return chunk(choice, R"("text":)" + quoted(delta.text), logprobs(choice, delta));
  }

  std::string end(int64_t choice, FinishReason reason, const std::string&) override {
    return chunk(choice, R"("text":"")", logprobs(choice, {}), finish_name(reason, false));
  }

 private:
  std::string logprobs(int64_t choice, const AnswerDelta& delta) {
    if (!tells_logprobs()) return "null";
    CompletionLogprobs& counter = counters_.at(static_cast<size_t>(choice));
    return body_text(counter.add(delta, head_.top_logprobs, tokenizer_));
  }

  std::vector<CompletionLogprobs> counters_;
};

}  // namespace

std::unique_ptr<AnswerWriter> whole_completion(AnswerHead head, const Tokenizer& tokenizer,
                                               Random random) {
  return std::make_unique<WholeCompletion>(std::move(head), tokenizer, random);
}

std::unique_ptr<AnswerWriter> completion_stream(AnswerHead head, const Tokenizer& tokenizer,
                                                Random random) {
  return std::make_unique<CompletionStream>(std::move(head), tokenizer, random);
}

}  // namespace hypenet
