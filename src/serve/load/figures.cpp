// Sums, percentiles, and the table that shows them.
#include "serve/load/figures.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hypenet {
namespace {

double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(place);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - std::floor(place));
}

/// Tokens and requests of each whole second of the test; a request counts in every second that it
/// touches, as in vllm bench serve.
void find_peaks(const std::vector<RequestRecord>& records, LoadFigures& figures) {
  double last = 0;
  for (const RequestRecord& record : records) last = std::max(last, record.ended);
  std::vector<double> tokens(static_cast<size_t>(last) + 1);
  std::vector<int64_t> requests(tokens.size());
  for (const RequestRecord& record : records) {
    if (!record.error.empty()) continue;
    for (auto second = static_cast<size_t>(record.sent);
         second <= static_cast<size_t>(record.ended); ++second) {
      ++requests[second];
    }
    // An event may hold several tokens.
    const double share = static_cast<double>(record.answer_tokens) /
                         static_cast<double>(std::max<size_t>(record.events.size(), 1));
    for (const double event : record.events) tokens[static_cast<size_t>(event)] += share;
  }
  figures.peak_answer_tokens = *std::ranges::max_element(tokens);
  figures.peak_requests = *std::ranges::max_element(requests);
}

std::string decimal(double value, int places = 2) {
  std::array<char, 64> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, places)
          .ptr;
  return {text.data(), end};
}

}  // namespace

std::optional<double> RequestRecord::per_token() const {
  if (answer_tokens < 2) return std::nullopt;
  return (ended - sent - first_token()) / static_cast<double>(answer_tokens - 1);
}

Delays Delays::of(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::ranges::sort(seconds);
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  return {.mean = sum / static_cast<double>(seconds.size()) * 1e3,
          .median = percentile(seconds, 0.5) * 1e3,
          .p99 = percentile(seconds, 0.99) * 1e3};
}

GoodputLimit GoodputLimit::parse(std::string_view text) {
  const size_t colon = std::min(text.find(':'), text.size());
  GoodputLimit limit{std::string(text.substr(0, colon)), 0};
  const std::string_view number = text.substr(std::min(colon + 1, text.size()));
  const auto end = number.data() + number.size();
  const auto parsed = std::from_chars(number.data(), end, limit.ms);
  const bool is_known = limit.metric == "ttft" || limit.metric == "tpot" || limit.metric == "e2el";
  HYPENET_CHECK(is_known && parsed.ec == std::errc() && parsed.ptr == end && limit.ms >= 0,
                "--goodput: expected ttft:MS, tpot:MS or e2el:MS, found \"", text, "\"");
  return limit;
}

bool GoodputLimit::holds(const RequestRecord& record) const {
  if (metric == "ttft") return record.first_token() * 1e3 <= ms;
  if (metric == "tpot") return record.per_token().value_or(0) * 1e3 <= ms;
  return (record.ended - record.sent) * 1e3 <= ms;
}

LoadFigures figures_of(const std::vector<RequestRecord>& records, double seconds,
                       const std::vector<GoodputLimit>& limits) {
  LoadFigures figures;
  figures.seconds = seconds;
  std::vector<double> first, per_token, between, whole;
  int64_t good = 0;
  for (const RequestRecord& record : records) {
    if (!record.error.empty()) {
      ++figures.failed;
      continue;
    }
    ++figures.successful;
    figures.prompt_tokens += record.prompt_tokens;
    figures.answer_tokens += record.answer_tokens;
    figures.reused_tokens += record.reused_tokens;
    first.push_back(record.first_token());
    if (const auto each = record.per_token()) per_token.push_back(*each);
    for (size_t i = 1; i < record.events.size(); ++i) {
      between.push_back(record.events[i] - record.events[i - 1]);
    }
    whole.push_back(record.ended - record.sent);
    good += std::ranges::all_of(limits, [&](const auto& limit) { return limit.holds(record); });
  }
  find_peaks(records, figures);
  figures.first_token = Delays::of(std::move(first));
  figures.per_token = Delays::of(std::move(per_token));
  figures.between_tokens = Delays::of(std::move(between));
  figures.whole = Delays::of(std::move(whole));
  if (!limits.empty()) figures.good_per_second = figures.per_second(good);
  return figures;
}

std::vector<LoadFigures::Row> LoadFigures::rows(int64_t clients, double rate) const {
  std::vector<Row> rows = {{"Successful requests:", concat(successful)},
                           {"Failed requests:", concat(failed)}};
  const auto add = [&](const std::string& name, double value) {
    rows.push_back({name, decimal(value)});
  };
  const auto add_delays = [&](const std::string& head, const std::string& name,
                              const Delays& delays) {
    rows.push_back({head, ""});
    add(concat("Mean ", name, " (ms):"), delays.mean);
    add(concat("Median ", name, " (ms):"), delays.median);
    add(concat("P99 ", name, " (ms):"), delays.p99);
  };
  if (clients > 0) rows.push_back({"Maximum request concurrency:", concat(clients)});
  if (rate > 0) add("Request rate configured (RPS):", rate);
  add("Benchmark duration (s):", seconds);
  rows.push_back({"Total input tokens:", concat(prompt_tokens)});
  rows.push_back({"Total generated tokens:", concat(answer_tokens)});
  add("Request throughput (req/s):", per_second(successful));
  if (good_per_second) add("Request goodput (req/s):", *good_per_second);
  add("Output token throughput (tok/s):", per_second(answer_tokens));
  add("Peak output token throughput (tok/s):", peak_answer_tokens);
  add("Peak concurrent requests:", static_cast<double>(peak_requests));
  add("Total token throughput (tok/s):", per_second(prompt_tokens + answer_tokens));
  add_delays("Time to First Token", "TTFT", first_token);
  add_delays("Time per Output Token (excl. 1st token)", "TPOT", per_token);
  add_delays("Inter-token Latency", "ITL", between_tokens);
  add_delays("End-to-end Latency", "E2EL", whole);
  rows.push_back({"Reuse and the server", ""});
  rows.push_back({"Reused tokens:", concat(reused_tokens)});
  add("Hit share (%):", 100.0 * static_cast<double>(reused_tokens) /
                            static_cast<double>(std::max<int64_t>(prompt_tokens, 1)));
  if (server_cpu_seconds && answer_tokens > 0) {
    const double each = *server_cpu_seconds * 1e3 / static_cast<double>(answer_tokens);
    rows.push_back({"Server CPU (s a 1,000 output tokens):", decimal(each, 4)});
  }
  return rows;
}

Json LoadFigures::json() const {
  Json json = {{"completed", successful},
               {"failed", failed},
               {"duration", seconds},
               {"total_input_tokens", prompt_tokens},
               {"total_output_tokens", answer_tokens},
               {"request_throughput", per_second(successful)},
               {"output_throughput", per_second(answer_tokens)},
               {"total_token_throughput", per_second(prompt_tokens + answer_tokens)},
               {"max_output_tokens_per_s", peak_answer_tokens},
               {"max_concurrent_requests", peak_requests}};
  const auto add = [&](const std::string& name, const Delays& delays) {
    json[concat("mean_", name, "_ms")] = delays.mean;
    json[concat("median_", name, "_ms")] = delays.median;
    json[concat("p99_", name, "_ms")] = delays.p99;
  };
  add("ttft", first_token);
  add("tpot", per_token);
  add("itl", between_tokens);
  add("e2el", whole);
  if (good_per_second) json["request_goodput"] = *good_per_second;
  json["reused_tokens"] = reused_tokens;
  if (server_cpu_seconds) json["server_cpu_seconds"] = *server_cpu_seconds;
  return json;
}

}  // namespace hypenet
