// Chunks of OpenAI's streams as server-sent events.
#include "serve/api/answer_parts.h"

namespace hypenet {
namespace {

std::string event(const Json& json) { return "data: " + body_text(json) + "\n\n"; }

}  // namespace

ChunkStream::ChunkStream(AnswerHead head, const char* object, const Tokenizer& tokenizer,
                         Random random)
    : head_(std::move(head)),
      tokenizer_(tokenizer),
      random_(random),
      beginning_({{"id", head_.id},
                  {"object", object},
                  {"created", head_.created},
                  {"model", head_.model},
                  {"system_fingerprint", head_.fingerprint}}),
      after_(head_.includes_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n") {
  std::string before = "data: " + body_text(beginning_);
  before.pop_back();
  for (int64_t i = 0; i < head_.choices; ++i) {
    befores_.push_back(concat(before, R"(,"choices":[{"index":)", i, ','));
  }
}

std::string ChunkStream::chunk(int64_t choice, std::string_view member, std::string_view logprobs,
                               std::string_view finish) const {
  const std::string& before = befores_.at(static_cast<size_t>(choice));
  constexpr size_t kRest = 128;
  std::string text;
  text.reserve(before.size() + member.size() + logprobs.size() + kRest);
  text.append(before).append(member).append(R"(,"logprobs":)").append(logprobs);
  if (finish.empty()) return text.append(R"(,"finish_reason":null)").append(after_);
  text.append(R"(,"finish_reason":")").append(finish).append("\"}],");
  text.append(concat(R"("seed":)", head_.seed));
  return text.append(head_.includes_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

std::string ChunkStream::chunk_beside(const char* key, const Json& value, const Json& usage) const {
  Json json = beginning_;
  json["choices"] = Json::array();
  json[key] = value;
  if (head_.includes_usage) json["usage"] = usage;
  return event(json);
}

std::string ChunkStream::progress(const PromptProgress& progress) {
  if (!head_.includes_progress) return {};
  return chunk_beside("prompt_progress", progress_json(progress), nullptr);
}

std::string ChunkStream::finish(const Usage& usage, const Timings& timings) {
  std::string text;
  if (head_.includes_usage)
    text = chunk_beside("timings", timings_json(timings), usage_json(usage));
  return text + "data: [DONE]\n\n";
}

std::string ChunkStream::error(const ApiError& error) { return event(openai_error(error)); }

}  // namespace hypenet
