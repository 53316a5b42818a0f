// Models that compute differently have different facts.
#include "model/forward_facts.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/mixers/mixer_kind.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

/// A key's other value: a flag turned round, a number one more.
Json changed(const Json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number_integer()) return value.get<int64_t>() + 1;
  if (value.is_number_float()) return value.get<double>() + 1;
  return value;
}

TEST(ForwardFacts, tell_each_key_of_each_mixer) {
  for (const MixerKind* kind : mixer_kinds()) {
    if (!kind->write) continue;
    ModelConfig config = testing_support::tiny_hypenet_config();
    config.mixer_types = {kind, kind, kind};
    const Json facts = forward_facts(config);
    std::set<std::string> told = {facts.dump()};
    size_t changes = 0;
    const Json written = kind->write(config);
    for (const auto& [key, value] : written.items()) {
      ModelConfig other = config;
      kind->read(Json{{key, changed(value)}}, "test", other);
      if (kind->write(other)[key] == value) continue;  // it follows from others, or is a text
      ++changes;
      told.insert(forward_facts(other).dump());
    }
    EXPECT_GT(changes, 3U) << kind->name;
    EXPECT_EQ(told.size(), changes + 1) << kind->name;
  }
}

TEST(ForwardFacts, tell_what_only_published_hybrids_have) {
  ModelConfig config = testing_support::tiny_hypenet_config();
  std::set<std::string> told = {forward_facts(config).dump()};
  config.turned_size = 8;
  told.insert(forward_facts(config).dump());
  config.has_float_norms = true;
  told.insert(forward_facts(config).dump());
  config.architecture = Architecture::kQwen35;
  told.insert(forward_facts(config).dump());
  config.blocks.feed_forward = BlockForm::FeedForward::kChannelMix;
  told.insert(forward_facts(config).dump());
  config.blocks.has_layer_norms = true;
  told.insert(forward_facts(config).dump());
  config.blocks.has_embedding_norm = true;
  told.insert(forward_facts(config).dump());
  EXPECT_EQ(told.size(), 7U);
}

}  // namespace
}  // namespace hypenet
