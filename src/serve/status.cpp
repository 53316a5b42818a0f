// Sums over engines, and their names in metrics and status.
#include "serve/status.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "base/version.h"

namespace hypenet {
namespace {

double as_number(int64_t value) { return static_cast<double>(value); }

void set_tier(Metrics& metrics, const char* name, const CacheStats::Tier& tier) {
  metrics.set("cache_bytes", as_number(tier.page_bytes), {{"tier", name}, {"kind", "kv"}});
  metrics.set("cache_bytes", as_number(tier.snapshot_bytes),
              {{"tier", name}, {"kind", "snapshot"}});
  metrics.set("cache_snapshots", as_number(tier.snapshots), {{"tier", name}});
}

Json tier_json(const CacheStats::Tier& tier) {
  return {{"kv_bytes", tier.page_bytes},
          {"snapshot_bytes", tier.snapshot_bytes},
          {"snapshots", tier.snapshots},
          {"most_kv_bytes", tier.most_page_bytes},
          {"most_snapshot_bytes", tier.most_snapshot_bytes}};
}

}  // namespace

void add_stats(EngineStats& sum, const EngineStats& one) {
  sum.page_bytes = one.page_bytes, sum.state_bytes = one.state_bytes;
  for (const auto member :
       {&EngineStats::running, &EngineStats::waiting, &EngineStats::paused, &EngineStats::slots,
        &EngineStats::slots_used, &EngineStats::pages, &EngineStats::pages_used,
        &EngineStats::prefilled_tokens, &EngineStats::decoded_tokens, &EngineStats::steps,
        &EngineStats::pauses}) {
    sum.*member += one.*member;
  }
  CacheStats& cache = sum.cache;
  for (const auto tier : {&CacheStats::device, &CacheStats::host, &CacheStats::disk}) {
    for (const auto member : {&CacheStats::Tier::page_bytes, &CacheStats::Tier::snapshot_bytes,
                              &CacheStats::Tier::snapshots, &CacheStats::Tier::most_page_bytes,
                              &CacheStats::Tier::most_snapshot_bytes}) {
      (cache.*tier).*member += (one.cache.*tier).*member;
    }
  }
  for (const auto member :
       {&CacheStats::queried_tokens, &CacheStats::device_hit_tokens, &CacheStats::host_hit_tokens,
        &CacheStats::disk_hit_tokens, &CacheStats::snapshots_taken,
        &CacheStats::device_snapshots_evicted, &CacheStats::host_snapshots_evicted,
        &CacheStats::disk_snapshots_evicted}) {
    cache.*member += one.cache.*member;
  }
  for (size_t i = 0; i < cache.misses.size(); ++i) cache.misses[i] += one.cache.misses[i];
}

Json memory_json(const EngineStats& stats) {
  const auto tier = [](const CacheStats::Tier& kept, int64_t pages, int64_t states) {
    return Json{{"kv_bytes", kept.page_bytes + pages},
                {"snapshot_bytes", kept.snapshot_bytes},
                {"state_bytes", states},
                {"budget_bytes", kept.most_page_bytes + kept.most_snapshot_bytes}};
  };
  Json json = {{"gpu", tier(stats.cache.device, stats.pages_used * stats.page_bytes,
                            stats.slots_used * stats.state_bytes)},
               {"host", tier(stats.cache.host, 0, 0)}};
  if (stats.cache.disk.most_page_bytes > 0) json["disk"] = tier(stats.cache.disk, 0, 0);
  return json;
}

void set_build_info(Metrics& metrics, const ServedFolder& served) {
  metrics.set("build_info", 1,
              {{"version", std::string(version())}, {"fingerprint", served.fingerprint}});
  metrics.set("model_info", 1,
              {{"max_model_len", std::to_string(served.model.context_length)},
               {"vocab_size", std::to_string(served.model.vocab_size)}});
}

void set_engine_metrics(Metrics& metrics, std::span<const EngineThread* const> engines) {
  EngineStats stats;
  for (const EngineThread* engine : engines) add_stats(stats, engine->stats());
  metrics.set("num_requests_running", as_number(stats.running));
  metrics.set("num_requests_waiting", as_number(stats.waiting));
  metrics.set("num_requests_paused", as_number(stats.paused));
  metrics.set("state_slots_used", as_number(stats.slots_used));
  metrics.set("state_slots_total", as_number(stats.slots));
  metrics.set("kv_cache_usage_perc",
              stats.pages > 0 ? as_number(stats.pages_used) / as_number(stats.pages) : 0);
  set_tier(metrics, "gpu", stats.cache.device);
  set_tier(metrics, "host", stats.cache.host);
  set_tier(metrics, "disk", stats.cache.disk);
  const auto hits =
      stats.cache.device_hit_tokens + stats.cache.host_hit_tokens + stats.cache.disk_hit_tokens;
  metrics.count_to("prompt_tokens_computed_total", as_number(stats.prefilled_tokens));
  metrics.count_to("prompt_tokens_total", as_number(stats.prefilled_tokens + hits));
  metrics.count_to("generation_tokens_total", as_number(stats.decoded_tokens));
  metrics.count_to("prefix_cache_queries_total", as_number(stats.cache.queried_tokens));
  metrics.count_to("prefix_cache_hits_total", as_number(hits));
  metrics.count_to("prefix_cache_hit_tokens_total", as_number(stats.cache.device_hit_tokens),
                   {{"tier", "gpu"}});
  metrics.count_to("prefix_cache_hit_tokens_total", as_number(stats.cache.host_hit_tokens),
                   {{"tier", "host"}});
  metrics.count_to("prefix_cache_hit_tokens_total", as_number(stats.cache.disk_hit_tokens),
                   {{"tier", "disk"}});
  for (size_t i = 1; i < stats.cache.misses.size(); ++i) {
    metrics.count_to("prefix_cache_misses_total", as_number(stats.cache.misses[i]),
                     {{"reason", std::string(to_string(static_cast<ReuseMiss>(i)))}});
  }
  metrics.count_to("snapshots_taken_total", as_number(stats.cache.snapshots_taken));
  metrics.count_to("snapshots_evicted_total", as_number(stats.cache.device_snapshots_evicted),
                   {{"tier", "gpu"}});
  metrics.count_to("snapshots_evicted_total", as_number(stats.cache.host_snapshots_evicted),
                   {{"tier", "host"}});
  metrics.count_to("snapshots_evicted_total", as_number(stats.cache.disk_snapshots_evicted),
                   {{"tier", "disk"}});
  metrics.count_to("num_preemptions_total", as_number(stats.pauses));
  metrics.count_to("steps_total", as_number(stats.steps));
}

void count_step(Metrics& metrics, const StepFigures& step) {
  metrics.observe("step_seconds", step.seconds);
  metrics.observe("iteration_tokens_total", as_number(step.tokens));
}

void count_request(Metrics& metrics, const RequestFigures& figures) {
  const auto observe = [&](const char* name, double value) {
    if (value >= 0) metrics.observe(name, value);
  };
  metrics.count("http_requests_total",
                {{"path", figures.route}, {"status", std::to_string(figures.status)}});
  observe("time_to_first_token_seconds", figures.first_token_seconds);
  observe("request_queue_time_seconds", figures.queue_seconds);
  observe("request_prefill_time_seconds", figures.prefill_seconds);
  observe("request_decode_time_seconds", figures.decode_seconds);
  observe("e2e_request_latency_seconds", figures.total_seconds);
  observe("request_prompt_tokens", as_number(figures.prompt_tokens));
  observe("request_generation_tokens", as_number(figures.answer_tokens));
  if (figures.answer_tokens > 1 && figures.decode_seconds >= 0) {
    observe("request_time_per_output_token_seconds",
            figures.decode_seconds / as_number(figures.answer_tokens - 1));
  }
}

std::string process_metrics() {
  struct rusage use {};
  ::getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& time) {
    return as_number(time.tv_sec) + as_number(time.tv_usec) * 1e-6;
  };
  int64_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  std::string text;
  const auto add = [&](const char* name, const char* kind, const char* help, double value) {
    text += concat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n", name, " ",
                   Json(value).dump(), "\n");
  };
  add("process_cpu_seconds_total", "counter", "User and system time of all threads",
      seconds(use.ru_utime) + seconds(use.ru_stime));
  add("process_resident_memory_bytes", "gauge", "Memory in use",
      as_number(resident * ::sysconf(_SC_PAGESIZE)));
  return text;
}

Json engine_json(const EngineStats& stats, const std::optional<std::string>& failure) {
  Json json = {{"running", stats.running},
               {"waiting", stats.waiting},
               {"paused", stats.paused},
               {"slots", stats.slots},
               {"slots_used", stats.slots_used},
               {"pages", stats.pages},
               {"pages_used", stats.pages_used},
               {"page_bytes", stats.page_bytes},
               {"state_bytes", stats.state_bytes},
               {"tiers",
                {{"gpu", tier_json(stats.cache.device)},
                 {"host", tier_json(stats.cache.host)},
                 {"disk", tier_json(stats.cache.disk)}}},
               {"prefilled_tokens", stats.prefilled_tokens},
               {"decoded_tokens", stats.decoded_tokens},
               {"steps", stats.steps}};
  if (failure) json["failure"] = *failure;
  return json;
}

}  // namespace hypenet
