// Numbers are rounded for the page alone.
#include "quantize/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/readable_bytes.h"

namespace hypenet {
namespace {

constexpr size_t kWorst = 10;  // matrices that are named

std::string fixed(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }

std::string percent(double share, int digits = 2) { return fixed(100 * share, digits) + " %"; }

int64_t bytes_of(const QuantisedModel& model) {
  int64_t bytes = 0;
  for (const QuantisedLinear& linear : model.linears) bytes += linear.bytes;
  return bytes;
}

double numbers_of(const QuantisedModel& model) {
  double numbers = 0;
  for (const QuantisedLinear& linear : model.linears) {
    numbers += static_cast<double>(linear.rows) * static_cast<double>(linear.columns);
  }
  return numbers;
}

double bits_a_number(const QuantisedModel& model) {
  return 8 * static_cast<double>(bytes_of(model)) / numbers_of(model);
}

/// Where a matrix is off: its outputs where they were compared, else itself.
double error_of(const QuantisedLinear& linear) {
  return linear.output_error.value_or(linear.weight_error);
}

std::string kind_of(const std::string& name) { return name.substr(name.rfind('.') + 1); }

std::vector<std::string> error_cells(const QuantisedLinear& linear) {
  return {linear.output_error ? percent(*linear.output_error) : "", percent(linear.weight_error)};
}

Table worst_table(const QuantisedModel& model) {
  std::vector<QuantisedLinear> linears = model.linears;
  std::ranges::stable_sort(linears, std::ranges::greater(), error_of);
  linears.resize(std::min(linears.size(), kWorst));
  Table table{{"matrix", "outputs x inputs", "error of outputs", "error of numbers"}, {}};
  for (const QuantisedLinear& linear : linears) {
    table.rows.push_back({linear.name, concat(linear.rows, " x ", linear.columns)});
    std::ranges::copy(error_cells(linear), std::back_inserter(table.rows.back()));
  }
  return table;
}

/// Roots of the mean squares over the layers.
Table kinds_table(const QuantisedModel& model) {
  struct Sum {
    std::string kind;
    double outputs = 0, numbers = 0, count = 0;
    bool has_outputs = true;
  };
  std::vector<Sum> sums;
  for (const QuantisedLinear& linear : model.linears) {
    const std::string kind = kind_of(linear.name);
    auto sum = std::ranges::find(sums, kind, &Sum::kind);
    if (sum == sums.end()) sum = sums.insert(sum, Sum{.kind = kind});
    sum->has_outputs = sum->has_outputs && linear.output_error.has_value();
    sum->outputs += linear.output_error ? *linear.output_error * *linear.output_error : 0;
    sum->numbers += linear.weight_error * linear.weight_error, sum->count += 1;
  }
  Table table{{"kind", "matrices", "error of outputs", "error of numbers"}, {}};
  for (const Sum& sum : sums) {
    const auto mean = [&](double squares) { return percent(std::sqrt(squares / sum.count)); };
    table.rows.push_back({sum.kind, fixed(sum.count, 0), sum.has_outputs ? mean(sum.outputs) : "",
                          mean(sum.numbers)});
  }
  return table;
}

Chart layers_chart(const QuantisedModel& model) {
  Series series{.name = "residual", .x = {}, .y = {}};
  for (size_t i = 0; i < model.layer_errors.size(); ++i) {
    series.x.push_back(static_cast<double>(i)), series.y.push_back(model.layer_errors[i]);
  }
  return {.title = "Error of the residual along the layers",
          .x_label = "layer",
          .y_label = "relative error",
          .shown_y = {0},
          .series = {series}};
}

Table settings_table(const QuantizeSettings& settings) {
  Table table{{"setting", "value"}, {}};
  for (const auto& [key, value] : settings.settings.items()) {
    table.rows.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  }
  return table;
}

}  // namespace

Table quantize_table(const QuantisedModel& model) {
  Table table{{"", "before", "after", "change"}, {}};
  if (const auto& held_out = model.held_out) {
    const double before = std::exp(held_out->loss_a), after = std::exp(held_out->loss_b);
    const double change = after / before - 1;
    table.rows.push_back({"perplexity", fixed(before, 4), fixed(after, 4),
                          concat(change < 0 ? "" : "+", percent(change), ", standard error ",
                                 percent((1 + change) * model.loss_change_error))});
    table.rows.push_back({"KL(before || after), nats", "", fixed(held_out->divergence, 5), ""});
    table.rows.push_back({"same first choice", "", percent(held_out->agreement), ""});
  }
  const double ratio =
      static_cast<double>(bytes_of(model)) / static_cast<double>(model.bytes_before);
  table.rows.push_back({"quantised matrices", readable_bytes(model.bytes_before),
                        readable_bytes(bytes_of(model)), concat("x ", fixed(ratio, 3))});
  table.rows.push_back({"bits a number of these", "", fixed(bits_a_number(model), 2), ""});
  if (model.scaled > 0) {
    table.rows.push_back({"inputs that were scaled", "", concat(model.scaled), ""});
  }
  return table;
}

Report quantize_report(const QuantisedModel& model, const QuantizeSettings& settings) {
  Report report{.title = concat(settings.model, " in ", settings.form),
                .subtitle =
                    "Written by hypenet quantize. Errors are relative: roots of mean "
                    "squares, of what they are compared with."};
  report.parts.emplace_back(Heading{"Quality and size"});
  report.parts.emplace_back(quantize_table(model));
  if (!model.held_out) {
    report.parts.emplace_back("There was no held-out text to measure perplexity on.");
  }
  if (!model.layer_errors.empty()) report.parts.emplace_back(layers_chart(model));
  report.parts.emplace_back(Heading{"The worst matrices"});
  report.parts.emplace_back(worst_table(model));
  report.parts.emplace_back(Heading{"Kinds of matrices"});
  report.parts.emplace_back(kinds_table(model));
  report.parts.emplace_back(Heading{"Settings"});
  report.parts.emplace_back(settings_table(settings));
  return report;
}

Json quantize_json(const QuantisedModel& model, const QuantizeSettings& settings) {
  Json json = {{"model", settings.model}, {"form", settings.form}, {"settings", settings.settings}};
  if (const auto& held_out = model.held_out) {
    json["perplexity_before"] = std::exp(held_out->loss_a);
    json["perplexity_after"] = std::exp(held_out->loss_b);
    json["loss_change_error"] = model.loss_change_error;
    json["kl"] = held_out->divergence;
    json["agreement"] = held_out->agreement;
  }
  json["bytes_before"] = model.bytes_before;
  json["bytes_after"] = bytes_of(model);
  json["bits_a_number"] = bits_a_number(model);
  json["scaled_inputs"] = model.scaled;
  json["layer_errors"] = model.layer_errors;
  json["matrices"] = Json::array();
  for (const QuantisedLinear& linear : model.linears) {
    json["matrices"].push_back(
        {{"name", linear.name},
         {"rows", linear.rows},
         {"columns", linear.columns},
         {"bytes", linear.bytes},
         {"weight_error", linear.weight_error},
         {"output_error", linear.output_error ? Json(*linear.output_error) : Json(nullptr)}});
  }
  return json;
}

}  // namespace hypenet
