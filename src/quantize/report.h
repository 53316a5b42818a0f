// What quantising a model cost, as a page and as JSON.
#pragma once

#include <string>

#include "base/json.h"
#include "quantize/quantize.h"
#include "report/page.h"

namespace hypenet {

/// What a report says beside the result.
struct QuantizeSettings {
  std::string model;               // what it is called
  std::string form;                // "int4, groups of 128, gptq"
  Json settings = Json::object();  // as run.json has them
};

/// Tables of quality and size, of the worst matrices and of each kind of them, and a chart of the
/// residual's error along the layers.
Report quantize_report(const QuantisedModel& model, const QuantizeSettings& settings);

/// report.json: the same numbers, every matrix's among them.
Json quantize_json(const QuantisedModel& model, const QuantizeSettings& settings);

/// The table of quality and size alone.
Table quantize_table(const QuantisedModel& model);

}  // namespace hypenet
