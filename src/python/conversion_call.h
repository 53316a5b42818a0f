// A conversion, as `hypenet convert` makes it, on a thread beside its caller.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "python/loaded_model.h"

namespace hypenet {

/// The program's flags of the same names.
struct ConvertSettings {
  std::filesystem::path recipe = {};
  std::filesystem::path resume = {};  // folder of an earlier run: its recipe, in place of `recipe`
  std::string teacher = {};
  std::vector<std::string> data = {}, validation = {};
  std::string text_field = {}, on_bad_document = {};
  std::vector<std::string> settings = {};  // "section.key=value"
  std::filesystem::path out = {};          // empty: out/<the recipe's name>
  std::string from = {}, until = {};
  std::string device = "cpu";
  int64_t threads = 0;
};

/// What became known: a report of a training step, of other work, or a note.
struct ConvertProgress {
  std::string kind;  // "step", "work" or "note"
  std::string stage = {}, text = {};
  int64_t done = 0, total = 0;
  double loss = 0, learning_rate = 0, tokens_per_second = 0, seconds_left = 0;
};
/// Called on the caller's thread; what it throws stops the conversion, which is saved first, and is
/// thrown on.
using OnConvertProgress = std::function<void(const ConvertProgress&)>;

struct ConvertOutcome {
  std::filesystem::path model = {}, report = {};  // report: empty with `until`
  std::string table = {};                         // as the program prints it
  Json results = nullptr;                         // results.json; null with `until`
};

/// Runs what is not yet done of the conversion. `meanwhile` is called about every twentieth of a
/// second; what it throws stops the conversion in the same way. Throws Error as the program does.
ConvertOutcome run_conversion(const ConvertSettings& settings, const OnConvertProgress& on_progress,
                              const WhileWaiting& meanwhile);

}  // namespace hypenet
