// Sampling on every device against its definition (sampling_definition.h), and the laws of its
// random numbers.
#include "ops/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "kernels/gumbel.h"
#include "tests/ops/sampling_definition.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/target.h"

namespace hypenet {
namespace {

constexpr Target kTargets[] = {{"cpu", torch::kCPU, torch::kFloat32, torch::kFloat32, 1e-5},
                               {"cuda", torch::kCUDA, torch::kFloat32, torch::kFloat32, 1e-5}};

std::vector<int32_t> ids_of(const SampledTokens& tokens) {
  const Tensor ids = tokens.ids.cpu();
  return {ids.const_data_ptr<int32_t>(), ids.const_data_ptr<int32_t>() + ids.numel()};
}

Tensor slots_of(const std::vector<int32_t>& slots, torch::Device device) {
  return torch::tensor(slots, torch::kInt32).to(device);
}

/// ids of `steps` steps of the same logits [N, V], row i with slot i: [step][row].
std::vector<std::vector<int32_t>> sampled(const Tensor& logits, SamplingState& state, int steps) {
  std::vector<int32_t> slots(static_cast<size_t>(logits.size(0)));
  std::iota(slots.begin(), slots.end(), 0);
  const Tensor on_device = slots_of(slots, logits.device());
  std::vector<std::vector<int32_t>> ids;
  for (int step = 0; step < steps; ++step) {
    ids.push_back(ids_of(sample_tokens(logits, on_device, state)));
  }
  return ids;
}

class Sampling : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA) HYPENET_SKIP_WITHOUT_GPU();
    torch::manual_seed(31);
  }
  static torch::Device device() { return GetParam().device; }
  static double draw(double low, double high) {
    return low + (high - low) * torch::rand({1}, torch::kFloat64).item<double>();
  }
  static int32_t draw_token(int64_t V) { return static_cast<int32_t>(draw(0, 0.999999 * V)); }
  static bool flip() { return draw(0, 1) < 0.5; }

  static Settings draw_settings(int64_t V) {
    Settings settings;
    if (draw(0, 1) < 0.85) settings.temperature = static_cast<float>(draw(0.3, 2));
    if (flip()) settings.top_k = 1 + draw_token(std::min<int64_t>(V + 3, flip() ? 8 : 100000));
    if (flip()) settings.top_p = static_cast<float>(draw(0, 1));
    if (flip()) settings.min_p = static_cast<float>(draw(0, flip() ? 0.5 : 0.01));
    if (flip()) settings.penalty = static_cast<float>(draw(0.8, 1.6));
    settings.seed = torch::randint(std::numeric_limits<int64_t>::max(), {1}).item<int64_t>();
    settings.draws = draw_token(1000000);
    for (int i = 0; i < 20; ++i) settings.seen.push_back(draw_token(V));
    std::ranges::sort(settings.seen);
    settings.seen.erase(std::unique(settings.seen.begin(), settings.seen.end()),
                        settings.seen.end());
    for (int64_t i = 0; i < kBiases && flip(); ++i) {
      settings.bias.emplace_back(draw_token(V), static_cast<float>(draw(-5, 5)));
    }
    if (flip()) settings.presence = static_cast<float>(draw(-2, 2));
    if (flip()) settings.frequency = static_cast<float>(draw(-2, 2));
    for (int i = 0; i < 10 && settings.has_counts(); ++i) {
      settings.counts[draw_token(V)] = 1 + draw_token(5);
    }
    settings.min_tokens = settings.draws + static_cast<int32_t>(draw(-1, 2));
    // The last token is never banned, and always in the mask: one is left.
    for (int i = 0; i < kBans && V > 1 && flip(); ++i) settings.bans.push_back(draw_token(V - 1));
    if (draw(0, 1) < 0.3) settings.mask = draw_mask(V, flip() ? 0.5 : 3.0 / static_cast<double>(V));
    return settings;
  }

  static std::vector<bool> draw_mask(int64_t V, double share) {
    const Tensor numbers = torch::rand({V});
    std::vector<bool> mask(V);
    for (int64_t v = 0; v < V; ++v) mask[v] = numbers.const_data_ptr<float>()[v] < share;
    mask[V - 1] = true;
    return mask;
  }
};

/// Samples `steps` tokens a row by these settings, compares all that the op leaves, and returns how
/// many tokens rounding may decide.
int compare_with_definition(const Tensor& logits, std::vector<Settings> settings,
                            torch::Device device, int steps) {
  int undecided = 0;
  const int64_t N = logits.size(0), V = logits.size(1);
  SamplingState state = make_state(settings, V, device);
  std::vector<int32_t> slots(static_cast<size_t>(N));
  for (int64_t i = 0; i < N; ++i) slots[i] = static_cast<int32_t>((i * 3 + 1) % N);  // no 3 in N
  for (int step = 0; step < steps; ++step) {
    const SampledTokens tokens = sample_tokens(logits.to(device), slots_of(slots, device), state,
                                               make_masks(settings, slots, V, device));
    const std::vector<int32_t> ids = ids_of(tokens);
    for (int64_t row = 0; row < N; ++row) {
      Settings& own = settings[slots[row]];
      const float* const row_logits = logits.const_data_ptr<float>() + row * V;
      const int32_t expected = defined_choice(row_logits, V, own), found = ids[row];
      undecided += expected < 0 ? 1 : 0;
      if (found < 0 || found >= V) {
        ADD_FAILURE() << "V " << V << " row " << row << " found " << found;
        return undecided;
      }
      EXPECT_TRUE(expected < 0 || expected == found)
          << "V " << V << " row " << row << " expected " << expected << " found " << found
          << " temperature " << own.temperature << " top_k " << own.top_k << " top_p " << own.top_p
          << " min_p " << own.min_p << " penalty " << own.penalty << " presence " << own.presence
          << " frequency " << own.frequency << " mask " << own.mask.has_value();
      EXPECT_NEAR(tokens.logprobs[row].item<double>(), defined_logprob(row_logits, V, found), 2e-5);
      own.draws += 1;
      if (std::ranges::find(own.seen, found) == own.seen.end()) own.seen.push_back(found);
      if (own.has_counts()) ++own.counts[found];
    }
  }
  const SamplingState expected = make_state(settings, V, device);
  EXPECT_TRUE(torch::equal(state.draws, expected.draws));
  EXPECT_TRUE(torch::equal(state.seen, expected.seen));
  EXPECT_EQ(state.counts.defined(), expected.counts.defined());
  EXPECT_TRUE(!expected.counts.defined() || torch::equal(state.counts, expected.counts));
  return undecided;
}

TEST_P(Sampling, equals_its_definition) {
  const NanFilledMemory nan_filled;
  int undecided = 0;
  for (const int64_t V : {1, 2, 31, 33, 100, 1000, 4099, 8192}) {
    for (const double spread : {0.3, 3.0}) {
      std::vector<Settings> settings(16);
      for (Settings& one : settings) one = draw_settings(V);
      const Tensor logits = torch::randn({16, V}) * spread;
      undecided += compare_with_definition(logits, settings, device(), 2);
    }
  }
  EXPECT_LE(undecided, 512 / 50);  // of 8 x 2 x 16 x 2
}

TEST_P(Sampling, equals_its_definition_at_large_vocabularies) {
  const NanFilledMemory nan_filled;
  int undecided = 0;
  // The last two: more than a cluster of blocks holds, once in single elements.
  for (const int64_t V : {151936, 262144, 500001, 524288}) {
    std::vector<Settings> settings(4);
    for (Settings& one : settings) one = draw_settings(V);
    settings[0].temperature = 0;
    settings[1].temperature = 1, settings[1].top_p = 0.9F, settings[1].top_k = 0;
    settings[2].temperature = 0.7F, settings[2].top_k = 20, settings[2].top_p = 0.8F;
    undecided += compare_with_definition(torch::randn({4, V}) * 2, settings, device(), 1);
  }
  EXPECT_LE(undecided, 3);
}

TEST_P(Sampling, of_equals_the_first_is_greedy_and_all_pass_the_filters) {
  // Quarters: exact in every type.
  const Tensor logits = (torch::randn({64, 200}) * 4).round().div(4);
  std::vector<Settings> greedy(64), drawn(64);
  for (size_t i = 0; i < 64; ++i) {
    drawn[i] = {.temperature = 1, .top_k = 1 + static_cast<int32_t>(i % 7)};
    drawn[i].seed = static_cast<int64_t>(i);
    if (i % 2 == 0) drawn[i].top_p = 0.7F;
  }
  SamplingState state = make_state(greedy, 200, device());
  const std::vector<int32_t> ids = sampled(logits.to(device()), state, 1)[0];
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(ids[i], defined_choice(logits[static_cast<int64_t>(i)].const_data_ptr<float>(), 200,
                                     greedy[i]));
  }
  EXPECT_LE(compare_with_definition(logits, drawn, device(), 2), 3);
  // Of all-equal logits top-k leaves all.
  state = make_state(drawn, 200, device());
  std::vector<int> counts(200);
  for (const auto& step : sampled(torch::zeros({64, 200}, device()), state, 40)) {
    for (const int32_t id : step) ++counts[id];
  }
  EXPECT_GT(*std::ranges::min_element(counts), 0);
}

TEST_P(Sampling, a_filter_that_leaves_one_token_is_greedy) {
  const Tensor logits = torch::randn({5, 999}) * 3;
  std::vector<Settings> settings(5, {.temperature = 1.7F, .seed = 5});
  settings[0].top_k = 1, settings[1].top_p = 0, settings[2].min_p = 1;
  settings[3].temperature = 1e-30F, settings[4].temperature = 1e-41F;
  SamplingState state = make_state(settings, 999, device());
  const Tensor expected = logits.argmax(1).to(torch::kInt32);
  for (const auto& ids : sampled(logits.to(device()), state, 5)) {
    EXPECT_TRUE(torch::equal(torch::tensor(ids, torch::kInt32), expected));
  }
}

TEST_P(Sampling, rows_alone_and_together_are_the_same_bits) {
  const int64_t V = 20011, N = 9;
  std::vector<Settings> settings(N);
  for (Settings& one : settings) one = draw_settings(V);
  const Tensor logits = (torch::randn({N, V}) * 2).to(device());
  SamplingState together = make_state(settings, V, device());
  SamplingState alone = make_state(settings, V, device());
  const std::vector<int32_t> slots = {8, 7, 6, 5, 4, 3, 2, 1, 0};
  const SampledTokens all = sample_tokens(logits, slots_of(slots, device()), together,
                                          make_masks(settings, slots, V, device()));
  for (int64_t row = 0; row < N; ++row) {
    const std::vector<int32_t> slot = {slots[row]};
    const SampledTokens one = sample_tokens(logits.narrow(0, row, 1), slots_of(slot, device()),
                                            alone, make_masks(settings, slot, V, device()));
    EXPECT_TRUE(torch::equal(one.ids, all.ids.narrow(0, row, 1)));
    EXPECT_TRUE(torch::equal(one.logprobs, all.logprobs.narrow(0, row, 1)));
    EXPECT_TRUE(torch::equal(one.log_sums, all.log_sums.narrow(0, row, 1)));
  }
  EXPECT_TRUE(torch::equal(alone.draws, together.draws));
  EXPECT_TRUE(torch::equal(alone.seen, together.seen));
}

TEST_P(Sampling, padding_and_rows_not_finite_leave_the_state_alone) {
  const float inf = std::numeric_limits<float>::infinity();
  Tensor logits = torch::randn({6, 70});
  logits[1][69] = std::nanf(""), logits[2][3] = inf, logits[3].fill_(-inf), logits[4][0] = inf;
  for (const Settings& one : {Settings{}, Settings{.temperature = 1, .top_k = 3},
                              Settings{.temperature = 1, .top_p = 0.5F, .penalty = 1.5F}}) {
    std::vector<Settings> settings(6, one);
    SamplingState state = make_state(settings, 70, device());
    const SampledTokens tokens =
        sample_tokens(logits.to(device()), slots_of({-1, 1, 2, 3, 4, 5}, device()), state);
    const std::vector<int32_t> ids = ids_of(tokens);
    EXPECT_EQ(ids[0], 0);
    EXPECT_EQ(tokens.logprobs[0].item<float>(), 0);
    for (int row = 1; row < 5; ++row) {
      EXPECT_EQ(ids[row], -1);
      EXPECT_EQ(tokens.logprobs[row].item<float>(), 0);
    }
    EXPECT_GE(ids[5], 0);
    settings[5].draws = 1, settings[5].seen = {ids[5]};
    const SamplingState expected = make_state(settings, 70, device());
    EXPECT_TRUE(torch::equal(state.draws, expected.draws));
    EXPECT_TRUE(torch::equal(state.seen, expected.seen));
  }
}

TEST_P(Sampling, a_masked_token_is_never_chosen) {
  const float inf = std::numeric_limits<float>::infinity();
  Tensor logits = torch::zeros({50, 40});
  logits.narrow(1, 0, 37).fill_(-inf);
  std::vector<Settings> settings(50, {.temperature = 100});
  for (size_t i = 0; i < 50; ++i) {
    settings[i].seed = static_cast<int64_t>(i);
    if (i % 3 == 0) settings[i].top_k = 39;  // more than are left
    if (i % 3 == 1) settings[i].bias = {{38, -inf}};
  }
  SamplingState state = make_state(settings, 40, device());
  for (const auto& ids : sampled(logits.to(device()), state, 20)) {
    for (size_t i = 0; i < 50; ++i) {
      EXPECT_GE(ids[i], 37);
      EXPECT_TRUE(i % 3 != 1 || ids[i] != 38);
    }
  }
}

TEST_P(Sampling, rows_whose_changes_leave_no_token_say_so_and_leave_the_state_alone) {
  const float inf = std::numeric_limits<float>::infinity();
  Tensor logits = torch::randn({6, 70});
  logits[4][3] = std::nanf(""), logits[5].fill_(-inf);
  const std::vector<bool> none(70, false), all(70, true);
  std::vector<bool> one = none;
  one[69] = true;
  for (const float temperature : {0.F, 1.F}) {
    std::vector<Settings> settings(6, {.temperature = temperature, .bans = {69}, .min_tokens = 1});
    settings[0].mask = none, settings[1].mask = one, settings[2].mask = one;
    settings[2].min_tokens = 0;  // the ban holds no more
    settings[3].mask = all, settings[4].mask = one, settings[5].mask = all;
    SamplingState state = make_state(settings, 70, device());
    const std::vector<int32_t> slots = {0, 1, 2, 3, 4, 5};
    const std::vector<int32_t> ids =
        ids_of(sample_tokens(logits.to(device()), slots_of(slots, device()), state,
                             make_masks(settings, slots, 70, device())));
    EXPECT_EQ(ids[0], kernels::kIdNoToken);
    EXPECT_EQ(ids[1], kernels::kIdNoToken);
    EXPECT_EQ(ids[2], 69);
    EXPECT_TRUE(ids[3] >= 0 && ids[3] < 69);
    EXPECT_EQ(ids[4], kernels::kIdNotFinite);
    EXPECT_EQ(ids[5], kernels::kIdNotFinite);
    for (const int i : {2, 3}) settings[i].draws = 1, settings[i].seen = {ids[i]};
    const SamplingState expected = make_state(settings, 70, device());
    EXPECT_TRUE(torch::equal(state.draws, expected.draws));
    EXPECT_TRUE(torch::equal(state.seen, expected.seen));
  }
}

TEST_P(Sampling, penalties_of_the_answer_grow_as_it_repeats_itself) {
  Tensor logits = torch::zeros({3, 40});
  logits.select(1, 7) = 1, logits.select(1, 9) = 0.25;
  std::vector<Settings> settings(3);
  settings[1].presence = 2, settings[2].frequency = 0.5;
  SamplingState state = make_state(settings, 40, device());
  std::vector<std::vector<int32_t>> found(3);
  for (const auto& ids : sampled(logits.to(device()), state, 5)) {
    for (size_t row = 0; row < 3; ++row) found[row].push_back(ids[row]);
  }
  EXPECT_EQ(found[0], (std::vector<int32_t>{7, 7, 7, 7, 7}));
  EXPECT_EQ(found[1], (std::vector<int32_t>{7, 9, 0, 1, 2}));
  EXPECT_EQ(found[2], (std::vector<int32_t>{7, 7, 9, 0, 1}));  // 1, 0.5, then 0 is left of token 7
  state.counts.fill_(kernels::kMostCounted);
  sampled(logits.to(device()), state, 1);
  EXPECT_EQ(state.counts.max().item<int>(), kernels::kMostCounted);
  count_tokens(state, 1);
  EXPECT_EQ(state.counts[1].abs().max().item<int>(), 0);
  EXPECT_EQ(state.counts[2].min().item<int>(), kernels::kMostCounted);
}

TEST_P(Sampling, biases_of_a_token_listed_twice_add_up) {
  Tensor logits = torch::zeros({2, 64});
  logits[0][5] = 3, logits[1][5] = 3;
  const std::vector<Settings> settings = {{.bias = {{63, 2}, {63, 2}}}, {.bias = {{63, 2}}}};
  SamplingState state = make_state(settings, 64, device());
  EXPECT_EQ(sampled(logits.to(device()), state, 1)[0], (std::vector<int32_t>{63, 5}));
}

/// sum (found - expected)^2 / expected.
double chi_square(const std::vector<double>& found, const std::vector<double>& expected) {
  double sum = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    if (expected[i] > 0) {
      sum += std::pow(found[i] - expected[i], 2) / expected[i];
    } else {
      EXPECT_EQ(found[i], 0);
    }
  }
  return sum;
}

constexpr int64_t kWords = 11, kSequences = 500;
constexpr int kSteps = 200;

/// kSteps draws of each of kSequences neighbouring seeds from the same logits.
std::vector<std::vector<int32_t>> many_draws(const Tensor& logits, const Settings& settings) {
  std::vector<Settings> all(kSequences, settings);
  for (int64_t i = 0; i < kSequences; ++i) all[i].seed = settings.seed + i;
  SamplingState state = make_state(all, kWords, logits.device());
  return sampled(logits.expand({kSequences, kWords}), state, kSteps);
}

TEST_P(Sampling, draws_follow_the_softmax) {
  const Tensor logits = torch::randn({kWords}) * 1.5;
  for (const Settings& settings :
       {Settings{.temperature = 1, .seed = 3}, Settings{.temperature = 0.7F, .seed = -40},
        Settings{.temperature = 1.3F, .top_k = 4, .seed = 1LL << 62}}) {
    const std::vector<double> distances =
        defined_distances(logits.const_data_ptr<float>(), kWords, settings);
    const double limit = defined_limit(distances, settings, 0);
    std::vector<double> expected, found(kWords);
    for (const double d : distances) expected.push_back(d <= limit ? std::exp(-d) : 0);
    const double total = std::accumulate(expected.begin(), expected.end(), 0.0);
    for (double& share : expected) share *= kSequences * kSteps / total;
    for (const auto& step : many_draws(logits.to(device()), settings)) {
      for (const int32_t id : step) ++found[id];
    }
    EXPECT_LT(chi_square(found, expected), 35.6);  // 10 degrees of freedom: one in 10,000
  }
}

TEST_P(Sampling, draws_and_seeds_are_independent) {
  const Tensor logits = torch::zeros({kWords}, device());
  const auto ids = many_draws(logits, {.temperature = 1, .seed = 7});
  std::vector<double> next_draw(kWords * kWords), next_seed(kWords * kWords);
  for (int t = 0; t + 1 < kSteps; ++t) {
    for (int64_t i = 0; i + 1 < kSequences; ++i) {
      ++next_draw[ids[t][i] * kWords + ids[t + 1][i]];
      ++next_seed[ids[t][i] * kWords + ids[t][i + 1]];
    }
  }
  const std::vector<double> expected(kWords * kWords,
                                     (kSteps - 1.0) * (kSequences - 1) / (kWords * kWords));
  EXPECT_LT(chi_square(next_draw, expected), 184);  // 120 degrees of freedom: one in 10,000
  EXPECT_LT(chi_square(next_seed, expected), 184);
}

INSTANTIATE_TEST_SUITE_P(Devices, Sampling, testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Gumbel, numbers_are_uniform_and_inside_the_interval) {
  constexpr int64_t kNumbers = 1 << 18, kIntervals = 256;
  std::vector<double> counts(kIntervals);
  double sum = 0, next = 0, before = 0;
  const uint64_t key = kernels::draw_key(1, 2);
  for (int32_t token = 0; token < kNumbers; ++token) {
    const double u = kernels::draw_uniform(key, token);
    ASSERT_TRUE(u >= 0x1p-33 && u <= 1 - 0x1p-24);
    ++counts[static_cast<size_t>(u * kIntervals)];
    sum += u, next += (u - 0.5) * (before - 0.5), before = u;
  }
  EXPECT_NEAR(sum / kNumbers, 0.5, 4 * std::sqrt(1.0 / 12 / kNumbers));
  EXPECT_NEAR(next / kNumbers, 0, 4.0 / 12 / std::sqrt(kNumbers));
  const std::vector<double> expected(kIntervals, 1.0 * kNumbers / kIntervals);
  EXPECT_LT(chi_square(counts, expected), 345);  // 255 degrees of freedom: one in 10,000
}

TEST(SamplingChecks, rejects_other_shapes_types_and_devices) {
  SamplingState state = make_sampling_state(3, 40, 2, torch::kCPU);
  const Tensor slots = torch::zeros({2}, torch::kInt32);
  EXPECT_ERROR(sample_tokens(torch::zeros({40}), slots, state),
               "sample_tokens: logits: expected shape [N, V], found [40]");
  EXPECT_ERROR(sample_tokens(torch::zeros({2, 40}, torch::kFloat64), slots, state),
               "logits: expected type Float, found Double");
  EXPECT_ERROR(sample_tokens(torch::zeros({3, 40}), slots, state),
               "slots: expected shape [3], found [2]");
  EXPECT_ERROR(sample_tokens(torch::zeros({2, 40}), slots.to(torch::kInt64), state),
               "slots: expected type Int, found Long");
  EXPECT_ERROR(sample_tokens(torch::zeros({2, 65}), slots, state),
               "seen: expected shape [3, 3], found [3, 2]");
  const Tensor settings = state.settings;
  state.settings = torch::zeros({3, settings.size(1)});
  EXPECT_ERROR(sample_tokens(torch::zeros({2, 40}), slots, state),
               "settings: expected type Byte, found Float");
  state.settings = settings.repeat({2, 1}).slice(0, 0, 6, 2);
  EXPECT_ERROR(sample_tokens(torch::zeros({2, 40}), slots, state),
               "settings: expected it contiguous");
}

TEST(SamplingChecks, rejects_masks_of_other_shapes) {
  SamplingState state = make_sampling_state(3, 40, 2, torch::kCPU);
  const Tensor slots = torch::zeros({2}, torch::kInt32), logits = torch::zeros({2, 40});
  const Tensor words = torch::zeros({1, 2}, torch::kInt32);
  EXPECT_ERROR(sample_tokens(logits, slots, state, {words, torch::zeros({3}, torch::kInt32)}),
               "masks.rows: expected shape [2], found [3]");
  EXPECT_ERROR(sample_tokens(logits, slots, state, {words.slice(1, 0, 1).clone(), slots}),
               "masks.words: expected shape [1, 2], found [1, 1]");
  state.counts = torch::zeros({3, 40}, torch::kInt16);
  EXPECT_ERROR(sample_tokens(logits, slots, state),
               "counts: expected shape [3, 64], found [3, 40]");
}

TEST(SamplingChecks, takes_no_rows) {
  SamplingState state = make_sampling_state(1, 40, 0, torch::kCPU);
  EXPECT_EQ(
      sample_tokens(torch::zeros({0, 40}), torch::zeros({0}, torch::kInt32), state).ids.numel(), 0);
}

}  // namespace
}  // namespace hypenet
