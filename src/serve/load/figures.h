// What was seen of each request of a load test, and the figures of all: vllm bench serve's, by the
// same definitions, and what was reused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace hypenet {

/// Seconds count from the test's beginning.
struct RequestRecord {
  double sent = 0, ended = 0;
  std::vector<double> events;  // when each piece of the answer's text came
  int64_t prompt_tokens = 0, answer_tokens = 0, reused_tokens = 0;  // as the server counts
  std::string error;  // why it failed; empty: it did not

  double first_token() const { return (events.empty() ? ended : events.front()) - sent; }

  /// Seconds a token behind the first; none with fewer than two.
  std::optional<double> per_token() const;
};

/// Mean, median and 99th percentile in ms (between two values by their distance).
struct Delays {
  double mean = 0, median = 0, p99 = 0;

  static Delays of(std::vector<double> seconds);
};

/// Limits in ms that a request must keep to count as good: "ttft:500", "tpot:20", "e2el:4000".
struct GoodputLimit {
  std::string metric;
  double ms = 0;

  static GoodputLimit parse(std::string_view text);
  bool holds(const RequestRecord& record) const;
};

struct LoadFigures {
  int64_t successful = 0, failed = 0;
  double seconds = 0;
  int64_t prompt_tokens = 0, answer_tokens = 0, reused_tokens = 0;
  double peak_answer_tokens = 0;  // in one of the test's seconds
  int64_t peak_requests = 0;      // under way within one of the test's seconds
  Delays first_token, per_token, between_tokens, whole;
  std::optional<double> good_per_second;     // none: no limits were given
  std::optional<double> server_cpu_seconds;  // none: the server does not tell

  double per_second(int64_t count) const { return static_cast<double>(count) / seconds; }

  /// vllm bench serve's rows (name, value) in its order, then ours; an empty value heads a section.
  struct Row {
    std::string name, value;
  };
  std::vector<Row> rows(int64_t clients, double rate) const;

  Json json() const;
};

LoadFigures figures_of(const std::vector<RequestRecord>& records, double seconds,
                       const std::vector<GoodputLimit>& limits);

}  // namespace hypenet
