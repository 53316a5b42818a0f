// Whoever has a published folder knows its keys alone.
#include "model/published_words.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/python_json.h"
#include "model/mixers/mixer_kind.h"
#include "model/published_config.h"
#include "store/checkpoint.h"
#include "store/published_names.h"

namespace hypenet {
namespace {

std::filesystem::path models() { return std::filesystem::path(HYPENET_TEST_DATA) / "models"; }

/// Whether a key is a mixer's own, as "gdn_nh" is.
bool is_mixers(const std::string& key) {
  return std::ranges::any_of(mixer_kinds(), [&](const MixerKind* kind) {
    return kind->write && kind->write(ModelConfig()).contains(key);
  });
}

TEST(PublishedWords, name_every_number_of_a_mixer) {
  size_t named = 0;
  for (const auto& entry : std::filesystem::directory_iterator(models())) {
    if (!entry.is_directory()) continue;
    const Checkpoint folder(entry.path());
    const Json& json = folder.config();
    const auto published = read_published_config(json, "config.json", folder.names());
    if (!published) continue;
    for (const auto& [key, value] : published->keys.items()) {
      // What no key of the folder says: which of two epsilons, and the one form that is read.
      const bool is_said = key != "rwkv7_unit_eps" && key != "rwkv7_gate_rank_type";
      if (!value.is_number() || !is_mixers(key) || !is_said) continue;
      const std::string said = in_published_words(key, published->architecture, text_config(json));
      EXPECT_NE(said, key) << entry.path();
      EXPECT_FALSE(is_mixers(said)) << said;
      ++named;
    }
  }
  EXPECT_GT(named, 30U);
}

TEST(PublishedWords, replace_whole_words) {
  const Json old = {{"linear_attn_config", {{"num_heads", 2}}}}, later = {{"linear_num_heads", 2}};
  const std::string text = "config.json: kda_num_heads: my_kda_num_heads is 3 (kda_num_heads)";
  EXPECT_EQ(in_published_words(text, Architecture::kKimiLinear, later),
            "config.json: linear_num_heads: my_kda_num_heads is 3 (linear_num_heads)");
  EXPECT_EQ(in_published_words("kda_num_heads", Architecture::kKimiLinear, old),
            "linear_attn_config: num_heads");
  EXPECT_EQ(in_published_words("gdn_num_v_heads: expected a divisor of gdn_nh 3",
                               Architecture::kQwen35, {}),
            "linear_num_value_heads: expected a divisor of linear_num_key_heads 3");
  EXPECT_EQ(in_published_words(text, Architecture::kHypeNet, {}), text);
}

}  // namespace
}  // namespace hypenet
