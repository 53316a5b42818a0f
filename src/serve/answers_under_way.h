// The answers under way: the engines' news become bytes for the clients. All of the I/O thread, but
// for the engines' news, which are posted to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/engine_thread.h"
#include "serve/http/http.h"
#include "serve/metrics.h"
#include "serve/prefix_router.h"
#include "serve/prepare.h"
#include "serve/request_figures.h"
#include "serve/served_folder.h"

namespace hypenet {

struct AnswerLimits {
  int64_t queue = 256;          // choices that wait for a slot
  double queue_seconds = 60;    // of an answer whose prompt was not begun
  double silence_seconds = 15;  // of a stream, until a comment shows that it lives
  bool tells_texts = false;     // of prompts and answers, to whoever is told their ends
};

/// Who asked, and how to answer.
struct Asker {
  std::shared_ptr<HttpExchange> exchange;
  std::vector<HttpHeader> headers = {};  // of the answer
  RequestFigures figures = {};
  std::chrono::steady_clock::time_point arrived;
};

/// What an answer was made of, for saving it as a session.
struct AnswerRecord {
  std::string id, salt;
  size_t engine = 0;
  std::vector<int32_t> tokens;  // prompt and answer
};

class AnswersUnderWay {
 public:
  using OnEnd = std::function<void(const RequestFigures&)>;

  /// All but `on_end` have to outlive it.
  AnswersUnderWay(const ServedFolder& served, const AnswerLimits& limits, Metrics& metrics,
                  OnEnd on_end);
  ~AnswersUnderWay();

  /// The engines that run them, which tell their news to `take`. `post` runs a function on the I/O
  /// thread, from any other.
  void use(std::vector<EngineThread*> engines, std::function<void(std::function<void()>)> post);

  /// Where requests that begin so are run; and that an engine has them now, from a file.
  size_t home_of(std::span<const int32_t> tokens, const std::string& salt) const {
    return router_->home_of(tokens, salt);
  }
  void learn(size_t engine, std::span<const int32_t> tokens, const std::string& key) {
    router_->learn(engine, tokens, key);
  }

  /// Admits an answer to the queue and begins to tell it. Throws ApiError queue_full, and
  /// model_error when no engine is left.
  void start(PreparedAnswer answer, Asker asker);

  /// What an engine told.
  void take(size_t engine, std::vector<EngineNews> news);

  /// To be called a few times a second: time limits, and signs of life.
  void sweep();

  /// Ends all of them with what they have, as if their tokens were used up.
  void end_all();

  bool is_empty() const { return jobs_.empty(); }
  int64_t choices() const { return static_cast<int64_t>(choices_.size()); }
  /// Those whose prompt is read or was, or the others: id, route, tokens, seconds since each came;
  /// never a text.
  Json list(bool begun) const;
  size_t size() const { return jobs_.size(); }
  /// The last answers, the latest first, and what those were made of.
  const std::deque<AnswerRecord>& records() const { return records_; }

 private:
  struct Choice;
  struct Job;
  using JobPtr = std::shared_ptr<Job>;
  struct Place {
    JobPtr job;
    size_t choice = 0;
  };

  void check_room(const PreparedAnswer& answer) const;
  void score_prompts(const JobPtr& job, size_t prompt);
  void begin(const JobPtr& job);
  void submit(const JobPtr& job, size_t index);
  void take_news(size_t engine, const Place& place, EngineNews& news);
  void take_event(const Place& place, Event& event);
  void take_token(const Place& place, Event& event);
  void tell(const JobPtr& job, size_t index, const AnswerText::Step& step);
  void end_choice(const JobPtr& job, size_t index, FinishReason reason);
  static void take_reports(Job& job, Usage& usage, Timings& timings);
  static void measure(Job& job, Usage& usage, Timings& timings);
  void add_texts(Job& job) const;
  void finish(const JobPtr& job);
  void fail(const JobPtr& job, const ApiError& error);
  void cancel_choices(Job& job);
  void close(const JobPtr& job, const char* finish);
  void keep_record(const Job& job);

  const ServedFolder& served_;
  AnswerLimits limits_;
  Metrics& metrics_;
  OnEnd on_end_;
  std::vector<EngineThread*> engines_;
  std::function<void(std::function<void()>)> post_;
  std::unique_ptr<PrefixRouter> router_;
  int64_t next_ticket_ = 0;
  std::unordered_map<int64_t, Place> choices_;  // by ticket
  std::map<int64_t, JobPtr> jobs_;              // in the order of their coming
  int64_t next_job_ = 0;
  double mean_seconds_ = 1;  // of late answers
  std::deque<AnswerRecord> records_;
  size_t record_tokens_ = 0;
};

}  // namespace hypenet
