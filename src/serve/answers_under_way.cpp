// An answer's life: queued, read, told token by token, ended; or cut off, or failed.
#include "serve/answers_under_way.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/seconds.h"
#include "serve/error_response.h"

namespace hypenet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostRecords = 1000, kMostRecordTokens = size_t{16} << 20;

HttpResponse stream_head(std::vector<HttpHeader> headers) {
  headers.push_back({"Cache-Control", "no-cache"});
  headers.push_back({"X-Accel-Buffering", "no"});
  return {.headers = std::move(headers), .content_type = "text/event-stream"};
}

/// A completion's prompt, as the beginning of its answer.
AnswerDelta echo_of(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                    std::span<const TokenScore> scores) {
  AnswerDelta delta{.text = tokenizer.decode(ids)};
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool is_known = i > 0 && i - 1 < scores.size();
    Event event{
        .id = ids[i],
        .logprob = is_known ? scores[i - 1].logprob : std::numeric_limits<float>::quiet_NaN()};
    if (is_known) event.top = {{ids[i], event.logprob}};
    delta.tokens.push_back({std::move(event), std::string(tokenizer.token_bytes(ids[i]))});
  }
  return delta;
}

}  // namespace

struct AnswersUnderWay::Choice {
  AnswerText text;
  int64_t ticket = -1;  // -1: not running
  size_t engine = 0;
  bool is_over = false, is_constrained = false;
  int64_t tokens = 0;
  std::vector<int32_t> ids = {};
  Clock::time_point first_token = {}, last_token = {};  // by the engine
  std::shared_ptr<const PromptReport> report = {};

  void count(Clock::time_point time) {
    if (tokens++ == 0) first_token = time;
    last_token = time;
  }
};

struct AnswersUnderWay::Job {
  int64_t number = 0;
  PreparedAnswer answer;
  Asker asker;
  std::unique_ptr<AnswerWriter> writer;
  std::vector<Choice> choices = {};
  std::vector<std::vector<TokenScore>> scores = {};  // by prompt
  size_t open = 0;                                   // choices
  bool is_over = false, has_begun = false;           // has_begun: the engine reads its prompt
  Clock::time_point admitted = {}, written = {};
  std::string unsent = {};  // of a stream, until the end of the news

  bool is_late(Clock::time_point now, double seconds) const {
    return seconds_between(admitted, now) > seconds;
  }

  void send(const std::string& bytes) { unsent += bytes; }

  void flush() {
    if (unsent.empty() || !answer.streams) return;
    asker.exchange->write(std::exchange(unsent, {}));
    written = Clock::now();
  }
};

AnswersUnderWay::AnswersUnderWay(const ServedFolder& served, const AnswerLimits& limits,
                                 Metrics& metrics, OnEnd on_end)
    : served_(served), limits_(limits), metrics_(metrics), on_end_(std::move(on_end)) {}

AnswersUnderWay::~AnswersUnderWay() = default;

void AnswersUnderWay::use(std::vector<EngineThread*> engines,
                          std::function<void(std::function<void()>)> post) {
  engines_ = std::move(engines);
  post_ = std::move(post);
  router_ = std::make_unique<PrefixRouter>(engines_.size());
}

void AnswersUnderWay::check_room(const PreparedAnswer& answer) const {
  int64_t slots = 0;
  for (const EngineThread* engine : engines_) slots += engine->stats().slots;
  const auto asked = static_cast<int64_t>(answer.choices.size());
  const int64_t waiting = choices() - slots;
  // A request that would fit an empty queue is never refused for its own size.
  if (waiting <= 0 || waiting + asked <= limits_.queue) return;
  ApiError error("queue_full",
                 concat("expected at most ", limits_.queue, " answers that wait, found ", waiting));
  const double seconds = mean_seconds_ * static_cast<double>(waiting) /
                         static_cast<double>(std::max<int64_t>(slots, 1));
  error.retry_after = static_cast<int64_t>(std::clamp(std::ceil(seconds), 1.0, 60.0));
  throw error;
}

void AnswersUnderWay::start(PreparedAnswer answer, Asker asker) {
  check_room(answer);
  const auto job = std::make_shared<Job>();
  job->number = next_job_++;
  job->answer = std::move(answer);
  job->asker = std::move(asker);
  job->admitted = job->written = Clock::now();
  job->writer =
      answer_writer(job->answer.form, job->answer.streams, job->answer.head, served_.tokenizer,
                    Random(static_cast<uint64_t>(job->answer.head.seed), {job->number}));
  job->scores.resize(job->answer.prompts.size());
  job->asker.figures.id = job->answer.head.id;
  job->asker.figures.prompt_tokens = job->answer.head.prompt_tokens;
  for (const PreparedChoice& choice : job->answer.choices) {
    job->choices.push_back({AnswerText(served_.tokenizer, choice.setting)});
  }
  job->open = job->choices.size();
  jobs_.emplace(job->number, job);
  if (job->answer.streams) job->asker.exchange->begin(stream_head(job->asker.headers));
  job->asker.exchange->on_gone([this, weak = std::weak_ptr(job)] {
    if (const auto gone = weak.lock()) close(gone, "abort");
  });
  score_prompts(job, 0);
}

/// Scores the prompts from this one on that are asked for, then begins.
void AnswersUnderWay::score_prompts(const JobPtr& job, size_t prompt) {
  const auto& prompts = job->answer.prompts;
  while (prompt < prompts.size() && !prompts[prompt].is_scored) ++prompt;
  if (prompt == prompts.size()) return begin(job);
  const auto engine = std::ranges::find_if(
      engines_, [](const EngineThread* candidate) { return !candidate->failure(); });
  if (engine == engines_.end()) return fail(job, {"model_error", "no engine runs any more"});
  (*engine)->call([this, job, prompt, ids = prompts[prompt].ids](Engine& runs) {
    std::vector<TokenScore> scores;
    std::string failure;
    try {
      const ScoredRow row{.ids = ids};
      scores = std::move(runs.score({&row, 1}).front());
    } catch (const std::exception& error) {
      failure = error.what();
    }
    post_([this, job, prompt, scores = std::move(scores), failure = std::move(failure)]() mutable {
      if (job->is_over) return;
      if (!failure.empty()) return fail(job, {"model_error", failure});
      job->scores[prompt] = std::move(scores);
      score_prompts(job, prompt + 1);
    });
  });
}

void AnswersUnderWay::begin(const JobPtr& job) {
  for (size_t i = 0; i < job->choices.size() && !job->is_over; ++i) {
    const PreparedChoice& choice = job->answer.choices[i];
    job->send(job->writer->begin(static_cast<int64_t>(i)));
    if (job->answer.echoes) {
      job->send(
          job->writer->delta(static_cast<int64_t>(i),
                             echo_of(served_.tokenizer, job->answer.prompts[choice.prompt].ids,
                                     job->scores[choice.prompt])));
    }
    if (choice.request) {
      submit(job, i);
    } else {
      end_choice(job, i, FinishReason::kLength);
    }
  }
  job->flush();
}

void AnswersUnderWay::submit(const JobPtr& job, size_t index) {
  Choice& choice = job->choices[index];
  Request& request = *job->answer.choices[index].request;
  try {
    choice.engine = router_->choose(request.prompt, request.salt);
  } catch (const Error& error) {
    return fail(job, {"model_error", error.what()});
  }
  choice.is_constrained = request.options.mask != nullptr;
  choice.ticket = next_ticket_++;
  choices_.emplace(choice.ticket, Place{job, index});
  engines_[choice.engine]->submit(choice.ticket, std::move(request));
}

void AnswersUnderWay::take(size_t engine, std::vector<EngineNews> all) {
  std::vector<JobPtr> told;
  for (EngineNews& news : all) {
    const auto found = choices_.find(news.event.sequence);
    if (found == choices_.end()) continue;  // cancelled meanwhile
    const Place place = found->second;
    take_news(engine, place, news);
    if (told.empty() || told.back() != place.job) told.push_back(place.job);
  }
  for (const JobPtr& job : told) {
    if (!job->is_over) job->flush();
  }
}

void AnswersUnderWay::take_news(size_t engine, const Place& place, EngineNews& news) {
  if (!news.failure.empty()) {
    router_->failed(engine);
    return fail(place.job, {"model_error", news.failure});
  }
  if (!news.refusal.empty()) {
    const bool is_text = place.job->answer.form == AnswerForm::kCompletion;
    return fail(place.job,
                {"context_length_exceeded", news.refusal, is_text ? "prompt" : "messages"});
  }
  take_event(place, news.event);
}

void AnswersUnderWay::take_event(const Place& place, Event& event) {
  Job& job = *place.job;
  job.has_begun = true;
  if (event.report) job.choices[place.choice].report = event.report;
  if (event.read > 0) {
    const auto& ids = job.answer.prompts[job.answer.choices[place.choice].prompt].ids;
    const auto& report = job.choices[place.choice].report;
    job.send(job.writer->progress({.processed = event.read,
                                   .cached = report ? report->reused : 0,
                                   .total = static_cast<int64_t>(ids.size()),
                                   .ms = seconds_since(job.admitted) * 1e3}));
  }
  const FinishReason finish = event.finish;
  if (event.id >= 0) take_token(place, event);
  if (job.is_over || job.choices[place.choice].is_over) return;
  // Where a grammar leaves nothing but the end, which min_tokens or ignore_eos keep away, it is
  // over.
  const bool is_whole =
      finish == FinishReason::kNoToken && job.choices[place.choice].is_constrained;
  if (is_whole) return end_choice(place.job, place.choice, FinishReason::kStop);
  if (finish == FinishReason::kNoToken) {
    return fail(place.job, {"model_error", "expected a token that may come next, found none"});
  }
  if (finish == FinishReason::kNotFinite) {
    return fail(place.job, {"model_error",
                            "the model's logits: expected finite numbers, found nan or infinity"});
  }
  if (finish == FinishReason::kStop) job.choices[place.choice].count(event.time);
  if (finish != FinishReason::kNone) end_choice(place.job, place.choice, finish);
}

void AnswersUnderWay::take_token(const Place& place, Event& event) {
  Choice& choice = place.job->choices[place.choice];
  Asker& asker = place.job->asker;
  if (choice.tokens > 0) {
    metrics_.observe("inter_token_latency_seconds", seconds_between(choice.last_token, event.time));
  } else if (asker.figures.first_token_seconds < 0) {
    asker.figures.first_token_seconds = seconds_between(asker.arrived, event.time);
  }
  choice.count(event.time);
  choice.ids.push_back(event.id);
  tell(place.job, place.choice, choice.text.push(std::move(event)));
}

void AnswersUnderWay::tell(const JobPtr& job, size_t index, const AnswerText::Step& step) {
  for (const AnswerDelta& delta : step.deltas) {
    job->send(job->writer->delta(static_cast<int64_t>(index), delta));
  }
  if (!step.found_stop) return;
  engines_[job->choices[index].engine]->cancel(job->choices[index].ticket);
  end_choice(job, index, FinishReason::kStop);
}

void AnswersUnderWay::end_choice(const JobPtr& job, size_t index, FinishReason reason) {
  Choice& choice = job->choices[index];
  choice.is_over = true;
  if (choice.ticket >= 0) {
    choices_.erase(choice.ticket);
    router_->ended(choice.engine);
  }
  for (const AnswerDelta& delta : choice.text.finish().deltas) {
    job->send(job->writer->delta(static_cast<int64_t>(index), delta));
  }
  job->send(job->writer->end(static_cast<int64_t>(index), reason, choice.text.stop_string()));
  const bool has_calls = choice.text.tool_calls() > 0 && reason == FinishReason::kStop;
  const std::string_view told = has_calls ? "tool_calls" : to_string(reason);
  job->asker.figures.finish = told;
  metrics_.count("request_success_total", {{"finished_reason", std::string(told)}});
  if (--job->open == 0) finish(job);
}

/// What the engine reported of the prompts, each of which is read once for all of its choices.
void AnswersUnderWay::take_reports(Job& job, Usage& usage, Timings& timings) {
  RequestFigures& figures = job.asker.figures;
  std::vector<bool> counted(job.answer.prompts.size(), false);
  for (size_t i = 0; i < job.choices.size(); ++i) {
    const size_t prompt = job.answer.choices[i].prompt;
    if (!job.choices[i].report || counted[prompt]) continue;
    counted[prompt] = true;
    const PromptReport& report = *job.choices[i].report;
    usage.cached_tokens += report.reused;
    usage.kept_tokens += std::max<int64_t>(job.answer.prompts[prompt].last_cut - report.reused, 0);
    timings.snapshot_position = std::max(timings.snapshot_position, report.reused);
    if (report.reused > 0) timings.reuse_tier = to_string(report.tier);
    timings.reuse_mode = to_string(report.mode);
    figures.queue_seconds =
        std::max(figures.queue_seconds, seconds_between(job.asker.arrived, report.admitted));
    figures.prefill_seconds =
        std::max(figures.prefill_seconds, seconds_between(report.admitted, report.first_token));
  }
  timings.reused_tokens = figures.cached_tokens = usage.cached_tokens;
  figures.tier = timings.reuse_tier;
}

void AnswersUnderWay::measure(Job& job, Usage& usage, Timings& timings) {
  RequestFigures& figures = job.asker.figures;
  take_reports(job, usage, timings);
  auto first = Clock::time_point::max(), last = Clock::time_point::min();
  for (const Choice& choice : job.choices) {
    usage.completion_tokens += choice.tokens;
    usage.reasoning_tokens += choice.text.reasoning_tokens();
    if (choice.tokens == 0) continue;
    first = std::min(first, choice.first_token);
    last = std::max(last, choice.last_token);
  }
  if (figures.first_token_seconds >= 0) figures.decode_seconds = seconds_between(first, last);
  figures.answer_tokens = usage.completion_tokens;
  figures.total_seconds = seconds_since(job.asker.arrived);
  const auto in_ms = [](double seconds) { return std::max(seconds, 0.0) * 1e3; };
  const auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(std::max<int64_t>(tokens, 0)) / seconds : 0;
  };
  timings.queue_ms = in_ms(figures.queue_seconds);
  timings.prompt_ms = in_ms(figures.prefill_seconds);
  timings.prompt_per_second =
      rate(usage.prompt_tokens - usage.cached_tokens, figures.prefill_seconds);
  timings.first_token_ms = in_ms(figures.first_token_seconds);
  timings.decode_ms = in_ms(figures.decode_seconds);
  // The first token of each choice comes with the prompt.
  const auto choices = static_cast<int64_t>(job.choices.size());
  timings.decode_per_second = rate(usage.completion_tokens - choices, figures.decode_seconds);
}

void AnswersUnderWay::add_texts(Job& job) const {
  RequestFigures& figures = job.asker.figures;
  for (const PreparedPrompt& prompt : job.answer.prompts) {
    figures.prompt += served_.tokenizer.decode(prompt.ids);
  }
  for (const Choice& choice : job.choices) figures.answer += served_.tokenizer.decode(choice.ids);
}

void AnswersUnderWay::finish(const JobPtr& job) {
  Usage usage{.prompt_tokens = job->answer.head.prompt_tokens};
  Timings timings{.reuse_mode = std::string(to_string(job->answer.reuse))};
  measure(*job, usage, timings);
  mean_seconds_ += 0.1 * (job->asker.figures.total_seconds - mean_seconds_);
  const std::string rest = job->writer->finish(usage, timings);
  keep_record(*job);
  if (limits_.tells_texts) add_texts(*job);
  job->is_over = true;
  jobs_.erase(job->number);
  if (job->answer.streams) {
    job->send(rest);
    job->flush();
    job->asker.exchange->finish();
  } else {
    job->asker.exchange->respond({.headers = job->asker.headers, .body = rest});
  }
  on_end_(job->asker.figures);
}

void AnswersUnderWay::cancel_choices(Job& job) {
  for (Choice& choice : job.choices) {
    if (choice.is_over || choice.ticket < 0) continue;
    engines_[choice.engine]->cancel(choice.ticket);
    choices_.erase(choice.ticket);
    router_->ended(choice.engine);
    choice.is_over = true;
  }
}

/// Ends an answer that nobody gets whole.
void AnswersUnderWay::close(const JobPtr& job, const char* finish) {
  if (job->is_over) return;
  job->is_over = true;
  cancel_choices(*job);
  jobs_.erase(job->number);
  RequestFigures& figures = job->asker.figures;
  figures.finish = finish;
  for (const Choice& choice : job->choices) figures.answer_tokens += choice.tokens;
  figures.total_seconds = seconds_since(job->asker.arrived);
  metrics_.count("request_success_total", {{"finished_reason", finish}});
  on_end_(figures);
}

void AnswersUnderWay::fail(const JobPtr& job, const ApiError& error) {
  if (job->is_over) return;
  const std::string body = job->writer->error(error);
  job->asker.figures.status = error.status();
  if (job->answer.streams) {
    job->send(body);
    job->flush();
    job->asker.exchange->finish();
  } else {
    job->asker.exchange->respond(error_response(error, body, job->asker.headers));
  }
  close(job, "error");
}

void AnswersUnderWay::sweep() {
  const auto now = Clock::now();
  std::vector<JobPtr> jobs;
  for (const auto& [number, job] : jobs_) jobs.push_back(job);
  for (const JobPtr& job : jobs) {
    if (!job->has_begun && job->is_late(now, limits_.queue_seconds)) {
      ApiError error("timeout_in_queue", concat("expected a free slot within ",
                                                limits_.queue_seconds, " s, found none"));
      error.retry_after = 60;
      fail(job, error);
      continue;
    }
    if (job->is_late(now, job->answer.timeout)) {
      for (size_t i = 0; i < job->choices.size(); ++i) {
        if (job->choices[i].is_over) continue;
        if (job->choices[i].ticket >= 0) {
          engines_[job->choices[i].engine]->cancel(job->choices[i].ticket);
        }
        end_choice(job, i, FinishReason::kLength);
      }
      continue;
    }
    if (job->answer.streams && seconds_between(job->written, now) > limits_.silence_seconds) {
      job->send(":\n\n");
      job->flush();
    }
  }
}

void AnswersUnderWay::end_all() {
  for (const auto& [number, job] : jobs_) job->answer.timeout = -1;
  sweep();
}

Json AnswersUnderWay::list(bool begun) const {
  Json list = Json::array();
  for (const auto& [number, job] : jobs_) {
    if (job->has_begun != begun) continue;
    int64_t tokens = 0;
    for (const Choice& choice : job->choices) tokens += choice.tokens;
    list.push_back({{"id", job->answer.head.id},
                    {"route", job->asker.figures.route},
                    {"prompt_tokens", job->answer.head.prompt_tokens},
                    {"answer_tokens", tokens},
                    {"age_seconds", seconds_since(job->asker.arrived)}});
  }
  return list;
}

void AnswersUnderWay::keep_record(const Job& job) {
  if (job.choices.size() != 1) return;
  AnswerRecord record{.id = job.answer.head.id,
                      .salt = job.answer.salt,
                      .engine = job.choices[0].engine,
                      .tokens = job.answer.prompts[0].ids};
  record.tokens.insert(record.tokens.end(), job.choices[0].ids.begin(), job.choices[0].ids.end());
  record_tokens_ += record.tokens.size();
  records_.push_front(std::move(record));
  while (records_.size() > kMostRecords || record_tokens_ > kMostRecordTokens) {
    record_tokens_ -= records_.back().tokens.size();
    records_.pop_back();
  }
}

}  // namespace hypenet
