// What the server counts, for Prometheus. The names are vLLM's where it counts the same.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace hypenet {

using MetricLabels = std::map<std::string, std::string>;

/// Every metric has its row in a table (metrics.cpp): name, kind, help. All of one thread.
class Metrics {
 public:
  /// Names begin with `prefix` ("hypenet_"), and each has the label model_name.
  Metrics(const std::string& prefix, const std::string& model_name);
  ~Metrics();

  /// Throw std::logic_error for a name that is not in the table, or is of another kind.
  void count(std::string_view counter, const MetricLabels& labels = {}, double amount = 1);
  /// A counter that is counted elsewhere: its total, which never falls.
  void count_to(std::string_view counter, double total, const MetricLabels& labels = {});
  void set(std::string_view gauge, double value, const MetricLabels& labels = {});
  void observe(std::string_view histogram, double value);

  /// The text format 0.0.4.
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hypenet
