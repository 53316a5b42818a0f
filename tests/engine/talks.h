// Conversations that go on, part and are asked again, for tests of engines that keep prompts.
#pragma once

#include <gmock/gmock.h>

#include <map>

#include "tests/engine/reuse.h"

namespace hypenet {

/// Requests as of people who go on, edit, branch and ask again.
class Talks {
 public:
  explicit Talks(uint64_t seed) : random_(seed) {}

  Request next() {
    Talk talk;
    if (!talks_.empty() && random_.below(5) > 0) {
      talk = talks_[static_cast<size_t>(random_.below(std::ssize(talks_)))];
      if (random_.below(3) == 0) cut(talk);
    }
    if (talk.tokens.empty() || random_.below(6) > 0) add_turn(talk);
    Request request;
    request.prompt = talk.tokens, request.marks = talk.marks;
    request.options.max_tokens = 1 + random_.below(30);
    if (random_.below(2) == 0) {
      request.options.sampling = {.temperature = 1, .top_k = 50, .seed = random_.next()};
    }
    return request;
  }

  /// An answer becomes history that others go on from.
  void ended(const Request& request, const std::vector<int32_t>& answer) {
    Talk talk{request.prompt, request.marks};
    talk.tokens.insert(talk.tokens.end(), answer.begin(), answer.end());
    if (talk.tokens.size() < 500) talks_.push_back(talk);
  }

  Random& random() { return random_; }

 private:
  struct Talk {
    std::vector<int32_t> tokens;
    std::vector<PromptMark> marks;
  };

  void add_turn(Talk& talk) {
    const auto kind = talk.tokens.empty() ? PromptMark::Kind::kClient : PromptMark::Kind::kTurn;
    if (!talk.tokens.empty()) talk.marks.push_back({std::ssize(talk.tokens), kind});
    const auto ids = random_ids(1 + random_.below(150), random_);
    talk.tokens.insert(talk.tokens.end(), ids.begin(), ids.end());
    if (random_.below(4) == 0) {
      talk.marks.push_back({std::ssize(talk.tokens), PromptMark::Kind::kClient});
    }
    if (std::ranges::count(talk.marks, PromptMark::Kind::kClient, &PromptMark::kind) > 16) {
      talk.marks.clear();
    }
  }

  void cut(Talk& talk) {
    talk.tokens.resize(static_cast<size_t>(1 + random_.below(std::ssize(talk.tokens))));
    std::erase_if(talk.marks,
                  [&](const PromptMark& mark) { return mark.position > std::ssize(talk.tokens); });
  }

  Random random_;
  std::vector<Talk> talks_;
};

/// Runs so many requests, some of them cancelled, in an engine that is checked after every step.
inline std::vector<Found> run_talks(Engine& engine, Talks& talks, int64_t count, ReuseMode mode) {
  std::map<int64_t, Found> found;
  int64_t submitted = 0;
  while (submitted < count || !engine.is_idle()) {
    Random& random = talks.random();
    const int64_t at_once = random.below(4) == 0 ? 3 : 1;
    for (int64_t i = 0; i < at_once && submitted < count && random.below(4) == 0; ++i) {
      Request request = talks.next();
      request.reuse = mode;
      const int64_t same = random.below(4) == 0 ? 3 : 1;  // the same prompt, asked by several
      for (int64_t j = 0; j < same && submitted < count; ++j, ++submitted) {
        request.options.sampling.seed += 1;
        found[engine.submit(request)].request = request;
      }
    }
    for (const Event& event : engine.step()) {
      Found& one = found.at(event.sequence);
      take(event, one);
      if (event.finish != FinishReason::kNone) talks.ended(one.request, one.completion.ids);
    }
    engine.check();
    for (auto& [number, one] : found) {
      if (one.completion.finish != FinishReason::kNone || one.is_cancelled) continue;
      if (random.below(150) == 0) engine.cancel(number), one.is_cancelled = true;
      engine.check();
    }
  }
  std::vector<Found> all;
  for (auto& [number, one] : found) all.push_back(std::move(one));
  return all;
}

inline void expect_begins_as(const Found& found, const Completion& expected,
                             const std::string& what) {
  const size_t count = found.completion.ids.size();
  ASSERT_LE(count, expected.ids.size()) << what;
  if (!found.is_cancelled) {
    ASSERT_EQ(count, expected.ids.size()) << what;
  }
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(found.completion.ids[i], expected.ids[i]) << what << " token " << i;
    ASSERT_EQ(found.completion.logprobs[i], expected.logprobs[i]) << what << " token " << i;
  }
}

}  // namespace hypenet
