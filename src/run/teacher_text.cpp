// The engine's thread does nothing but steps: prompts are drawn ahead of it, and what has ended is
// decoded and written behind it, by a thread each.
#include "run/teacher_text.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <iterator>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "engine/answers.h"

namespace hypenet {
namespace {

constexpr int64_t kPromptStream = 0, kSamplingStream = 1;  // labels of a document's random numbers

class Teacher {
 public:
  Teacher(Engine& engine, const Tokenizer& tokenizer, const Beginnings& beginnings,
          const TeacherTextOptions& options, CorpusFile& corpus)
      : answers_(engine),
        tokenizer_(tokenizer),
        beginnings_(beginnings),
        options_(options),
        corpus_(corpus),
        next_drawn_(corpus.next_id()),
        next_written_(corpus.next_id()),
        written_tokens_(corpus.tokens()) {
    draw_ahead();
  }

  void run(const std::function<void(int64_t)>& report);

 private:
  void draw_ahead();
  TeacherDocument next_prompt();
  void submit(TeacherDocument document);
  void end(TeacherDocument document, Completion answer);
  void wait_for_writer();
  void write_ended(bool waits);

  Answers answers_;
  const Tokenizer& tokenizer_;
  const Beginnings& beginnings_;
  const TeacherTextOptions& options_;
  CorpusFile& corpus_;

  std::vector<TeacherDocument> prompts_;      // the next one last
  std::map<int64_t, TeacherDocument> ended_;  // by id; an earlier one still runs
  std::vector<TeacherDocument> leaving_;      // what the writer has
  int64_t next_drawn_, next_written_;         // ids
  int64_t written_tokens_, leaving_tokens_ = 0, held_tokens_ = 0;  // held: in none of the two
  std::future<std::vector<TeacherDocument>> drawn_;
  std::future<void> written_;
};

int64_t count_tokens(const TeacherDocument& document) {
  return static_cast<int64_t>(document.prompt.size() + document.answer.size());
}

/// Starts on the next batch of prompts.
void Teacher::draw_ahead() {
  const int64_t first = next_drawn_, count = options_.sequences;
  next_drawn_ += count;
  drawn_ = std::async(std::launch::async, [this, first, count] {
    std::vector<TeacherDocument> documents;
    documents.reserve(static_cast<size_t>(count));
    for (int64_t id = first + count - 1; id >= first; --id) {
      documents.push_back({.id = id, .prompt = draw_prompt(beginnings_, tokenizer_, options_, id)});
    }
    return documents;
  });
}

TeacherDocument Teacher::next_prompt() {
  if (prompts_.empty()) {
    prompts_ = drawn_.get();
    draw_ahead();
  }
  TeacherDocument document = std::move(prompts_.back());
  prompts_.pop_back();
  return document;
}

void Teacher::submit(TeacherDocument document) {
  Request request{document.prompt, options_.answer};
  request.options.sampling.seed = sampling_seed(options_, document.id);
  held_tokens_ += count_tokens(document);
  const auto on_token = [this](const Event&) { return ++held_tokens_, true; };
  answers_.add(std::move(request), on_token,
               [this, document = std::move(document)](Completion answer) mutable {
                 end(std::move(document), std::move(answer));
               });
}

void Teacher::end(TeacherDocument document, Completion answer) {
  check_finite(concat("generate: logits of document ", document.id), answer);
  document.answer = std::move(answer.ids);
  const int64_t id = document.id;
  ended_.emplace(id, std::move(document));
}

void Teacher::wait_for_writer() {
  if (!written_.valid()) return;
  written_.get();
  written_tokens_ = corpus_.tokens();
  leaving_tokens_ = 0;
}

/// Hands what has ended, as far as no earlier document runs, to the writer.
void Teacher::write_ended(bool waits) {
  const bool is_busy =
      written_.valid() && written_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  if (is_busy && !waits) return;
  wait_for_writer();
  leaving_.clear();
  for (auto first = ended_.begin(); first != ended_.end() && first->first == next_written_;
       first = ended_.erase(first)) {
    leaving_tokens_ += count_tokens(first->second);
    leaving_.push_back(std::move(first->second));
    ++next_written_;
  }
  if (leaving_.empty()) return;
  held_tokens_ -= leaving_tokens_;
  written_ = std::async(std::launch::async, [this] { corpus_.add(leaving_); });
}

void Teacher::run(const std::function<void(int64_t)>& report) {
  // Documents that are left out count until they are written: then others take their places.
  const auto known = [&] { return written_tokens_ + leaving_tokens_ + held_tokens_; };
  while (written_tokens_ < corpus_.max_tokens()) {
    while (std::ssize(answers_) < options_.sequences && known() < corpus_.max_tokens()) {
      submit(next_prompt());
    }
    write_ended(/*waits=*/!answers_.step());
    report(known());
  }
}

}  // namespace

void check_teacher_text(const TeacherTextOptions& options) {
  const int64_t least = options.min_prompt, most = options.max_prompt;
  HYPENET_CHECK(least >= 1 && most >= least && most <= 4096,
                "--prompt-tokens: expected two numbers from 1 to 4096, the smaller first, found ",
                least, ",", most);
  HYPENET_CHECK(options.sequences >= 1 && options.sequences <= 65536,
                "--sequences: expected 1 to 65536, found ", options.sequences);
}

std::vector<int32_t> draw_prompt(const Beginnings& beginnings, const Tokenizer& tokenizer,
                                 const TeacherTextOptions& options, int64_t id) {
  Random random(options.seed, {id, kPromptStream});
  const int64_t index = random.below(beginnings.size());
  const int64_t count =
      options.min_prompt + random.below(options.max_prompt - options.min_prompt + 1);
  // Long enough for so many tokens, and what is cut through at its end is left behind.
  const auto bytes = static_cast<size_t>(count * 16 + 128);
  std::vector<int32_t> ids = tokenizer.encode(beginnings.piece(index, bytes));
  ids.resize(std::min(ids.size(), static_cast<size_t>(count)));
  return ids;
}

uint64_t sampling_seed(const TeacherTextOptions& options, int64_t id) {
  return Random(options.seed, {id, kSamplingStream}).next();
}

void write_teacher_text(Engine& engine, const Tokenizer& tokenizer, const Beginnings& beginnings,
                        const TeacherTextOptions& options, CorpusFile& corpus,
                        const std::function<void(int64_t)>& report) {
  check_teacher_text(options);
  HYPENET_CHECK(engine.is_idle(), "generate: expected an engine without other sequences under way");
  Teacher(engine, tokenizer, beginnings, options, corpus).run(report);
}

}  // namespace hypenet
