// One table of metrics, and prometheus-cpp, which keeps and prints them.
#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <stdexcept>
#include <variant>
#include <vector>

#include "base/error.h"

namespace hypenet {
namespace {

enum class Kind { kCounter, kGauge, kSeconds, kTokens };

struct Row {
  const char* name;
  Kind kind;
  const char* help;
};

constexpr Row kRows[] = {
    {"num_requests_running", Kind::kGauge, "Sequences that hold a slot"},
    {"num_requests_waiting", Kind::kGauge, "Sequences that wait for a slot or for memory"},
    {"num_requests_paused", Kind::kGauge, "Sequences whose memory was lent to others"},
    {"kv_cache_usage_perc", Kind::kGauge, "Share of the pages of keys and values in use, 0 to 1"},
    {"state_slots_used", Kind::kGauge, "Slots of recurrent states in use"},
    {"state_slots_total", Kind::kGauge, "Slots of recurrent states"},
    {"cache_bytes", Kind::kGauge, "Bytes kept for reuse, by tier and kind"},
    {"cache_snapshots", Kind::kGauge, "Snapshots of recurrent states kept for reuse, by tier"},
    {"connections_open", Kind::kGauge, "Open connections"},
    {"build_info", Kind::kGauge, "The program: version and fingerprint; always 1"},
    {"model_info", Kind::kGauge, "The model: its facts as labels; always 1"},
    {"prompt_tokens_total", Kind::kCounter, "Tokens of prompts, reused ones too"},
    {"prompt_tokens_computed_total", Kind::kCounter, "Tokens of prompts that were read"},
    {"generation_tokens_total", Kind::kCounter, "Tokens of answers"},
    {"prefix_cache_queries_total", Kind::kCounter, "Tokens of prompts that were looked up"},
    {"prefix_cache_hits_total", Kind::kCounter, "Tokens of prompts that were reused"},
    {"prefix_cache_hit_tokens_total", Kind::kCounter, "Tokens reused, by tier"},
    {"prefix_cache_misses_total", Kind::kCounter, "Long prompts that reused nothing, by reason"},
    {"snapshots_taken_total", Kind::kCounter, "Snapshots of recurrent states taken"},
    {"snapshots_evicted_total", Kind::kCounter, "Snapshots given up, by tier"},
    {"num_preemptions_total", Kind::kCounter, "Sequences paused to make room for others"},
    {"request_success_total", Kind::kCounter, "Answers that ended, by reason"},
    {"http_requests_total", Kind::kCounter, "HTTP requests, by route and status"},
    {"requests_rejected_total", Kind::kCounter, "Requests refused, by code"},
    {"session_operations_total", Kind::kCounter, "Sessions saved, restored, removed, by result"},
    {"ignored_billing_blocks_total", Kind::kCounter,
     "Blocks left out because they would change every prefix"},
    {"steps_total", Kind::kCounter, "Steps of the engine"},
    {"time_to_first_token_seconds", Kind::kSeconds, "Arrival to the first token"},
    {"inter_token_latency_seconds", Kind::kSeconds, "From one token of an answer to the next"},
    {"request_time_per_output_token_seconds", Kind::kSeconds,
     "Mean over an answer, without its first token"},
    {"e2e_request_latency_seconds", Kind::kSeconds, "Arrival to the last token"},
    {"request_queue_time_seconds", Kind::kSeconds,
     "Arrival to the beginning of the prompt's reading"},
    {"request_prefill_time_seconds", Kind::kSeconds, "From there to the first token"},
    {"request_decode_time_seconds", Kind::kSeconds, "First token to the last"},
    {"step_seconds", Kind::kSeconds, "A step of the engine"},
    {"request_prompt_tokens", Kind::kTokens, "Tokens of a prompt"},
    {"request_generation_tokens", Kind::kTokens, "Tokens of an answer"},
    {"iteration_tokens_total", Kind::kTokens, "Tokens of a step"},
};

/// 1, 2.5 and 5 of each power of ten.
prometheus::Histogram::BucketBoundaries seconds_buckets() {
  prometheus::Histogram::BucketBoundaries bounds;
  for (const double power : {1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2}) {
    for (const double step : {1.0, 2.5, 5.0}) bounds.push_back(step * power);
  }
  return bounds;
}

prometheus::Histogram::BucketBoundaries token_buckets() {
  prometheus::Histogram::BucketBoundaries bounds;
  for (double tokens = 1; tokens <= 1 << 20; tokens *= 2) bounds.push_back(tokens);
  return bounds;
}

}  // namespace

struct Metrics::Impl {
  using Counters = prometheus::Family<prometheus::Counter>*;
  using Gauges = prometheus::Family<prometheus::Gauge>*;
  using Histogram = prometheus::Histogram*;

  prometheus::Registry registry;
  std::map<std::string, std::variant<Counters, Gauges, Histogram>, std::less<>> metrics;

  template <class Metric>
  Metric of(std::string_view name) {
    const auto place = metrics.find(name);
    const auto* metric = place == metrics.end() ? nullptr : std::get_if<Metric>(&place->second);
    if (metric == nullptr) throw std::logic_error(concat("metrics: no such metric: ", name));
    return *metric;
  }
};

Metrics::Metrics(const std::string& prefix, const std::string& model_name)
    : impl_(std::make_unique<Impl>()) {
  const prometheus::Labels labels = {{"model_name", model_name}};
  for (const auto& [name, kind, help] : kRows) {
    const std::string full = prefix + name;
    if (kind == Kind::kCounter) {
      impl_->metrics[name] =
          &prometheus::BuildCounter().Name(full).Help(help).Labels(labels).Register(
              impl_->registry);
    } else if (kind == Kind::kGauge) {
      impl_->metrics[name] =
          &prometheus::BuildGauge().Name(full).Help(help).Labels(labels).Register(impl_->registry);
    } else {
      auto& family = prometheus::BuildHistogram().Name(full).Help(help).Labels(labels).Register(
          impl_->registry);
      impl_->metrics[name] =
          &family.Add({}, kind == Kind::kSeconds ? seconds_buckets() : token_buckets());
    }
  }
}

Metrics::~Metrics() = default;

void Metrics::count(std::string_view counter, const MetricLabels& labels, double amount) {
  impl_->of<Impl::Counters>(counter)->Add(labels).Increment(amount);
}

void Metrics::count_to(std::string_view counter, double total, const MetricLabels& labels) {
  prometheus::Counter& metric = impl_->of<Impl::Counters>(counter)->Add(labels);
  metric.Increment(total - metric.Value());
}

void Metrics::set(std::string_view gauge, double value, const MetricLabels& labels) {
  impl_->of<Impl::Gauges>(gauge)->Add(labels).Set(value);
}

void Metrics::observe(std::string_view histogram, double value) {
  impl_->of<Impl::Histogram>(histogram)->Observe(value);
}

std::string Metrics::text() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace hypenet
