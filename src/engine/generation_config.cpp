// Keys that are null are as good as absent, as in transformers.
#include "engine/generation_config.h"

#include "base/error.h"
#include "base/json.h"

namespace hypenet {

void check_settings(const SamplingOptions& options, const SettingName& name) {
  SamplingOptions::visit(
      [&](const char* key, auto member, auto /*setting*/, const OptionAbout& about) {
        const auto value = options.*member;
        HYPENET_CHECK(about.allows(static_cast<double>(value)), name(key), ": expected ",
                      about.or_zero ? "0, or " : "", about.least, " to ", about.most, ", found ",
                      value);
      });
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
  SamplingOptions::visit(
      [&](const char* key, auto member, const auto&...) { read(key, options.*member); });
  check_settings(options, name);
  if (!does_sample) options.temperature = 0;
  return options;
}

}  // namespace hypenet
