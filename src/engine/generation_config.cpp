// Keys that are null are as good as absent, as in transformers.
#include "engine/generation_config.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace hypenet {

void check_settings(const SamplingOptions& options, const SettingName& name) {
  HYPENET_CHECK(options.temperature >= 0 && std::isfinite(options.temperature), name("temperature"),
                ": expected 0 or more, found ", options.temperature);
  HYPENET_CHECK(options.top_k >= 0, name("top_k"), ": expected 0 or more, found ", options.top_k);
  HYPENET_CHECK(options.top_p > 0 && options.top_p <= 1, name("top_p"),
                ": expected more than 0 and at most 1, found ", options.top_p);
  HYPENET_CHECK(options.min_p >= 0 && options.min_p <= 1, name("min_p"),
                ": expected 0 to 1, found ", options.min_p);
  HYPENET_CHECK(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty),
                name("repetition_penalty"), ": expected more than 0, found ",
                options.repetition_penalty);
}

SamplingOptions read_generation_config(const std::filesystem::path& folder,
                                       const SamplingOptions& defaults) {
  SamplingOptions options = defaults;
  const auto path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return options;
  const Json json = read_json(path);
  HYPENET_CHECK(json.is_object(), path.string(), ": expected an object, found ", json_kind(json));
  const SettingName name = [&](const char* key) { return concat(path.string(), ": ", key); };
  const auto read = [&](const char* key, auto& value) {
    if (json.contains(key) && !json[key].is_null()) read_fields(json[key], name(key), value);
  };
  bool does_sample = true;
  read("do_sample", does_sample);
  read("temperature", options.temperature);
  read("top_k", options.top_k);
  read("top_p", options.top_p);
  read("min_p", options.min_p);
  read("repetition_penalty", options.repetition_penalty);
  check_settings(options, name);
  if (!does_sample) options.temperature = 0;
  return options;
}

}  // namespace hypenet
