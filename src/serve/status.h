// The server's own figures: what /metrics and /v1/status tell of engines, requests and the process.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine_thread.h"
#include "serve/metrics.h"
#include "serve/request_figures.h"
#include "serve/served_folder.h"

namespace hypenet {

/// build_info and model_info.
void set_build_info(Metrics& metrics, const ServedFolder& served);

/// Gauges and totals of all engines together.
void set_engine_metrics(Metrics& metrics, std::span<const EngineThread* const> engines);

void count_step(Metrics& metrics, const StepFigures& step);

/// A request that is over.
void count_request(Metrics& metrics, const RequestFigures& figures);

/// process_cpu_seconds_total, process_resident_memory_bytes and the like, as every exporter has
/// them: the text format.
std::string process_metrics();

/// Adds one engine's figures to others'; sizes of pages and states are those of the last.
void add_stats(EngineStats& sum, const EngineStats& one);

/// Bytes by tier: {gpu, host, and disk where there is one: {kv_bytes, snapshot_bytes, state_bytes,
/// budget_bytes}}.
Json memory_json(const EngineStats& stats);

/// What one engine holds and runs.
Json engine_json(const EngineStats& stats, const std::optional<std::string>& failure);

}  // namespace hypenet
