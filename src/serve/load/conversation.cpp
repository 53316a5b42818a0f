// Prompts of ids, of text and of messages, drawn from a seed.
#include "serve/load/conversation.h"

#include <array>
#include <string_view>

#include "base/random.h"

namespace hypenet {
namespace {

constexpr std::array<std::string_view, 64> kWords = {
    "time",     "year",    "people",   "way",    "day",        "man",    "thing",   "woman",
    "life",     "child",   "world",    "school", "state",      "family", "student", "group",
    "country",  "problem", "hand",     "part",   "place",      "case",   "week",    "company",
    "system",   "program", "question", "work",   "government", "number", "night",   "point",
    "home",     "water",   "room",     "mother", "area",       "money",  "story",   "fact",
    "month",    "lot",     "right",    "study",  "book",       "eye",    "job",     "word",
    "business", "issue",   "side",     "kind",   "head",       "house",  "service", "friend",
    "father",   "power",   "hour",     "game",   "line",       "end",    "member",  "law"};

// What is drawn, as labels of the random stream.
enum Label : int64_t { kWordsOf, kIdsOf, kPromptLength, kAnswerLength, kAnswerIds };

constexpr int64_t kSharedIndex = -1;  // of no conversation

}  // namespace

std::string plain_words(uint64_t seed, int64_t index, int64_t turn, int64_t count) {
  Random random(seed, {kWordsOf, index, turn});
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ' ';
    text += kWords.at(static_cast<size_t>(random.below(kWords.size())));
  }
  return text;
}

Conversation::Conversation(const LoadOptions& options, const std::vector<int32_t>& ids,
                           int64_t index)
    : options_(options), ids_(ids), index_(index) {
  begin();
  ask();
}

int64_t Conversation::draw(LengthRange range, int64_t label) const {
  return range.first +
         Random(options_.seed, {label, index_, turn_}).below(range.last - range.first + 1);
}

void Conversation::append_ids(Json& prompt, uint64_t seed, int64_t label, int64_t turn,
                              int64_t count) const {
  Random random(seed, {kIdsOf, label, turn});
  for (int64_t i = 0; i < count; ++i) {
    prompt.push_back(ids_[static_cast<size_t>(random.below(std::ssize(ids_)))]);
  }
}

/// What all prompts share.
void Conversation::begin() {
  prompt_ = Json::array();
  const int64_t count = options_.shared_prefix;
  if (options_.endpoint == LoadEndpoint::kCompletions) {
    append_ids(prompt_, options_.seed, kSharedIndex, 0, count);
  } else if (count > 0) {
    prompt_.push_back(
        {{"role", "system"}, {"content", plain_words(options_.seed, kSharedIndex, 0, count)}});
  }
}

/// This turn's question, drawn or from its line (whose own prompt is the first turn's).
void Conversation::ask() {
  prompt_tokens_ = draw(options_.prompt_tokens, kPromptLength);
  answer_tokens_ = draw(options_.answer_tokens, kAnswerLength);
  Json given;
  if (!options_.lines.empty()) {
    const LoadLine& line = options_.lines[static_cast<size_t>((index_ < 0 ? -index_ : index_) %
                                                              std::ssize(options_.lines))];
    prompt_tokens_ = line.prompt_tokens.value_or(prompt_tokens_);
    answer_tokens_ = line.answer_tokens.value_or(answer_tokens_);
    if (turn_ == 0) given = line.prompt;
  }
  const bool is_chat = options_.endpoint == LoadEndpoint::kChat;
  if (is_chat && given.is_array()) {
    for (const Json& message : given) prompt_.push_back(message);
  } else if (is_chat) {
    const std::string text = given.is_string()
                                 ? given.get<std::string>()
                                 : plain_words(options_.seed, index_, turn_, prompt_tokens_);
    prompt_.push_back({{"role", "user"}, {"content", text}});
  } else if (given.is_string()) {
    prompt_ = given;  // a text has no ids in front of it
  } else if (given.is_array()) {
    for (const Json& id : given) prompt_.push_back(id);
  } else if (prompt_.is_string()) {
    prompt_ = prompt_.get<std::string>() + ' ' +
              plain_words(options_.seed, index_, turn_, prompt_tokens_);
  } else {
    append_ids(prompt_, options_.seed, index_, turn_, prompt_tokens_);
  }
}

std::string Conversation::body(const std::string& model) const {
  const bool is_chat = options_.endpoint == LoadEndpoint::kChat;
  Json body = {{"model", model},
               {is_chat ? "messages" : "prompt", prompt_},
               {"max_tokens", answer_tokens_},
               {"temperature", options_.temperature},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  if (options_.ignores_end) body["ignore_eos"] = true;
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Conversation::go_on(const std::string& answer, int64_t answer_tokens) {
  if (options_.endpoint == LoadEndpoint::kChat) {
    prompt_.push_back({{"role", "assistant"}, {"content", answer}});
  } else if (prompt_.is_string()) {
    prompt_ = prompt_.get<std::string>() + answer;
  } else {
    append_ids(prompt_, options_.seed ^ kAnswerIds, index_, turn_, answer_tokens);
  }
  ++turn_;
  ask();
}

}  // namespace hypenet
