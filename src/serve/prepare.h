// From a request's body to what the engine is asked: parsing, the template, the tokenizer, the
// grammar. Runs on any thread, beside others.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/options.h"
#include "serve/api/answer_writer.h"
#include "serve/api/chat_form.h"
#include "serve/served_folder.h"
#include "serve/text/answer_text.h"
#include "text/chat_prompt.h"

namespace hypenet {

/// One choice of an answer.
struct PreparedChoice {
  size_t prompt = 0;                    // in PreparedAnswer::prompts
  std::optional<Request> request = {};  // none: nothing is generated (max_tokens 0)
  AnswerSetting setting = {};
};

struct PreparedPrompt {
  std::vector<int32_t> ids;
  bool is_scored = false;  // its own log-probabilities are asked for
  int64_t last_cut = 0;    // of the grid: what is kept of it for later ones
};

/// A request that was understood.
struct PreparedAnswer {
  AnswerForm form = AnswerForm::kChat;
  bool streams = false, echoes = false;
  AnswerHead head = {};
  std::vector<PreparedPrompt> prompts = {};
  std::vector<PreparedChoice> choices = {};
  double timeout = 0;  // seconds from admission
  ReuseMode reuse = ReuseMode::kExact;
  std::string salt = {};
  std::vector<std::string> ignored = {};  // fields, for x-ignored-params
  int64_t left_out_blocks = 0;
};

/// `model` is served.model, or a copy with what this request's key changes. Both throw ApiError.
PreparedAnswer prepare_chat(const ServedFolder& served, const ServedModel& model,
                            const ChatRequest& chat, AnswerForm form, Random& random);
PreparedAnswer prepare_completion(const ServedFolder& served, const ServedModel& model,
                                  std::string_view body, Random& random);

/// Its borders, as the engine's grid takes them.
std::vector<PromptMark> marks_of(const EncodedPrompt& prompt);

/// The prompt of a conversation; `on_text` as in PromptOptions. Throws ApiError: template_error,
/// tools_unsupported, and unsupported_parameter where the model has no template.
EncodedPrompt encode_prompt(const ServedFolder& served, const ChatRequest& chat,
                            std::function<void(const std::string&)> on_text = {});

}  // namespace hypenet
