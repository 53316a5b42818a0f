// The engine's thread does nothing but steps: prompts are drawn ahead of it, and what has ended is
// decoded and written behind it, by a thread each. Every count-th document is a rank's.
#include "run/teacher_text.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <iterator>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "engine/answers.h"
#include "ranks/exchange.h"
#include "run/run.h"

namespace hypenet {
namespace {

constexpr int64_t kPromptStream = 0, kSamplingStream = 1;  // labels of a document's random numbers

/// What a rank tells before the documents that ended.
struct RankProgress {
  int64_t tokens = 0;   // of documents that it has, from those under way to those written
  int64_t next_id = 0;  // of the next prompt to submit
  int64_t written = 0;  // tokens in the corpus, on the first rank
  int64_t stops = 0;    // whether it was asked to
};

class Teacher {
 public:
  Teacher(Engine& engine, const Tokenizer& tokenizer, const Beginnings& beginnings,
          const TeacherTextOptions& options, const TeacherTextJob& job)
      : answers_(engine),
        tokenizer_(tokenizer),
        beginnings_(beginnings),
        options_(options),
        job_(job),
        ranks_(job.ranks.ranks()),
        max_tokens_(job.ranks.most(job.corpus ? job.corpus->max_tokens() : 0)),
        next_written_(job.ranks.most(job.corpus ? job.corpus->next_id() : 0)),
        next_id_(next_written_ + ranks_.index),
        next_drawn_(next_id_),
        written_tokens_(job.corpus ? job.corpus->tokens() : 0),
        exchange_(job.ranks, [this](const std::string& found) { hear(found); }) {
    draw_ahead();
  }

  void run();

 private:
  void draw_ahead();
  TeacherDocument next_prompt();
  void submit(TeacherDocument document);
  void end(TeacherDocument document, Completion answer);
  void wait_for_writer();
  void write_ended(bool waits);
  bool tell(bool is_idle);
  void hear(const std::string& found);

  /// Documents that are left out count until they are written: then others take their places.
  int64_t own_tokens() const { return written_tokens_ + leaving_tokens_ + held_tokens_; }
  int64_t known_tokens() const { return own_tokens() + others_tokens_; }
  /// The corpus waits for each number: one that another rank has passed is needed too.
  bool needs_more() const { return known_tokens() < max_tokens_ || next_id_ < furthest_; }

  Answers answers_;
  const Tokenizer& tokenizer_;
  const Beginnings& beginnings_;
  const TeacherTextOptions& options_;
  const TeacherTextJob& job_;
  const Ranks ranks_;
  int64_t max_tokens_;

  std::vector<TeacherDocument> prompts_;      // the next one last
  std::vector<TeacherDocument> ended_;        // here, not told yet
  std::map<int64_t, TeacherDocument> heard_;  // by id, on the first rank; an earlier one still runs
  std::vector<TeacherDocument> leaving_;      // what the writer has
  int64_t next_written_, next_id_, next_drawn_;
  int64_t written_tokens_, leaving_tokens_ = 0, held_tokens_ = 0;  // held: in none of the two
  int64_t others_tokens_ = 0, furthest_ = 0, all_written_ = 0;     // as last heard
  bool stops_ = false;
  std::future<std::vector<TeacherDocument>> drawn_;
  std::future<void> written_;
  Exchange exchange_;
};

int64_t count_tokens(const TeacherDocument& document) {
  return static_cast<int64_t>(document.prompt.size() + document.answer.size());
}

/// Starts on the next batch of prompts.
void Teacher::draw_ahead() {
  const int64_t first = next_drawn_;
  next_drawn_ += options_.sequences * ranks_.count;
  drawn_ = std::async(std::launch::async, [this, first, last = next_drawn_ - ranks_.count] {
    std::vector<TeacherDocument> documents;
    documents.reserve(static_cast<size_t>(options_.sequences));
    for (int64_t id = last; id >= first; id -= ranks_.count) {
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
  next_id_ += ranks_.count;
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
  ended_.push_back(std::move(document));
}

void Teacher::wait_for_writer() {
  if (!written_.valid()) return;
  written_.get();
  written_tokens_ = job_.corpus->tokens();
  leaving_tokens_ = 0;
}

/// Hands what all ranks have ended, as far as no earlier document runs, to the writer.
void Teacher::write_ended(bool waits) {
  const bool is_busy =
      written_.valid() && written_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  if (is_busy && !waits) return;
  wait_for_writer();
  leaving_.clear();
  for (auto first = heard_.begin(); first != heard_.end() && first->first == next_written_;
       first = heard_.erase(first)) {
    leaving_tokens_ += count_tokens(first->second);
    leaving_.push_back(std::move(first->second));
    ++next_written_;
  }
  if (leaving_.empty()) return;
  held_tokens_ -= leaving_tokens_;
  written_ = std::async(std::launch::async, [this] { job_.corpus->add(leaving_); });
}

/// Tells the first rank what has ended here, and all how far this rank is. False once the corpus is
/// full.
bool Teacher::tell(bool is_idle) {
  if (job_.corpus) write_ended(/*waits=*/is_idle);
  std::string& found = exchange_.found();
  append(found, RankProgress{own_tokens(), next_id_, written_tokens_, job_.stop ? 1 : 0});
  for (const TeacherDocument& document : ended_) {
    append(found, document.id);
    append(found, document.prompt);
    append(found, document.answer);
    held_tokens_ -= count_tokens(document);
  }
  ended_.clear();
  others_tokens_ = 0;
  const bool goes_on = exchange_.tell(job_.corpus && written_tokens_ < max_tokens_);
  others_tokens_ -= own_tokens();
  if (stops_ && goes_on) {
    throw Interrupted(concat("interrupted; the same command goes on from here: ", all_written_,
                             " of ", max_tokens_, " tokens, in whole documents, are kept"));
  }
  return goes_on;
}

/// What a rank told; its documents are the first rank's from now on.
void Teacher::hear(const std::string& found) {
  Records records(found);
  const auto progress = records.next<RankProgress>();
  others_tokens_ += progress.tokens;
  furthest_ = std::max(furthest_, progress.next_id);
  all_written_ = std::max(all_written_, progress.written);
  stops_ |= progress.stops != 0;
  while (job_.corpus && !records.is_at_end()) {
    TeacherDocument document{.id = records.next<int64_t>(),
                             .prompt = records.next_list<int32_t>(),
                             .answer = records.next_list<int32_t>()};
    held_tokens_ += count_tokens(document);
    heard_.emplace(document.id, std::move(document));
  }
}

void Teacher::run() {
  for (bool goes_on = tell(false); goes_on;) {
    while (std::ssize(answers_) < options_.sequences && needs_more()) submit(next_prompt());
    const bool is_idle = !answers_.step();
    if (is_idle || exchange_.is_due()) goes_on = tell(is_idle);
    job_.report(known_tokens());
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
                        const TeacherTextOptions& options, const TeacherTextJob& job) {
  check_teacher_text(options);
  HYPENET_CHECK(engine.is_idle(), "generate: expected an engine without other sequences under way");
  Teacher(engine, tokenizer, beginnings, options, job).run();
}

}  // namespace hypenet
