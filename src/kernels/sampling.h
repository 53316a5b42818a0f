// Choosing tokens from rows of logits (ops/sampling.h, docs/kernels.md "Sampling"): what the
// kernels of both devices take, and the integers in which both compare, count and add.
#pragma once

#include <cstdint>

namespace hypenet::kernels {

constexpr int64_t kMostTop = 20;  // likeliest tokens that a row may be asked for

/// What one slot samples by.
struct SampleSettings {
  int64_t seed = 0;
  float temperature = 0;         // 0: the arg max (the first of equals)
  int32_t top_k = 0;             // the k most likely stay; 0: all
  float top_p = 1;               // the fewest whose share of the mass reaches it; 1: all
  float min_p = 0;               // those at least so likely against the likeliest; 0: all
  float repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen
                                 // (prompt and answer); 1: off
  float presence_penalty = 0;    // subtracted from logits of tokens counted (the answer's)
  float frequency_penalty = 0;   // subtracted as often as the token was counted
  int32_t min_tokens = 0;        // bans hold while fewer tokens were sampled
  int32_t top_logprobs = 0;      // likeliest tokens to tell, at most kMostTop
};

/// In place of a chosen token: logits were NaN or infinite, or no token was left.
constexpr int32_t kIdNotFinite = -1, kIdNoToken = -2;

/// Settings are of slots, masks and outputs of rows.
struct SampleParams {
  const float* logits;             // [rows, vocabulary]
  const int32_t* slots;            // [rows], each slot at most once; < 0: padding
  const SampleSettings* settings;  // [slots]
  int32_t* draws;                  // [slots]: tokens sampled so far
  int32_t* seen;                   // [slots, ceil(vocabulary / 32)]
  int16_t* counts;             // [slots, 32 ceil(vocabulary / 32)], kept for slots with penalties
                               // of presence or frequency; null: no slot has any
  const int32_t* bias_ids;     // [slots, biases]
  const float* bias;           // [slots, biases]
  const int32_t* ban_ids;      // [slots, bans], < 0: unused; hold before min_tokens
  const int32_t* masks;        // [masks, ceil(vocabulary / 32)]: tokens that may be chosen
  const int32_t* mask_of_row;  // [rows], < 0: every token may; null: no row has a mask
  int32_t* ids;                // [rows]
  float* logprobs;             // [rows]
  float* log_sums;             // [rows]: log of the sum of exp(logit - largest logit)
  int64_t rows, vocabulary, biases, bans;
};

/// Whether tokens of the slot are counted.
constexpr bool has_counts(const SampleParams& params, const SampleSettings& settings) {
  return params.counts != nullptr &&
         (settings.presence_penalty != 0.0F || settings.frequency_penalty != 0.0F);
}

/// Of a slot's counts: whole words of the bitmap.
constexpr int64_t counts_stride(int64_t vocabulary) { return (vocabulary + 31) / 32 * 32; }

constexpr int16_t kMostCounted = 32767;  // then a count stays

/// What the penalties take from the logit of a token that was counted so often.
constexpr float counted_penalty(float presence, float frequency, float count) {
  return count * frequency + (count > 0.0F ? presence : 0.0F);
}

/// Rows begin .. end - 1, in host memory.
void sample_tokens(const SampleParams& params, int64_t begin, int64_t end);

/// How far a token is below the likeliest, (max - logit) / temperature in units of 2^-27 nats: the
/// order of the keys is that of the logits. At 32 nats no noise (kernels/gumbel.h) makes up for the
/// distance: the token is never drawn.
constexpr float kKeyUnit = 0x1p-27F;
constexpr uint32_t kNeverDrawn = 0xFFFFFFFFU;

constexpr uint32_t distance_key(float distance) {
  // In a form that compilers turn into vector code. NaN (an infinite distance at an inverse
  // temperature of 0) is far.
  float near = distance > 0.0F ? distance : 0.0F;
  near = near < 32.0F ? near : 0.0F;
  const auto key = static_cast<uint32_t>(near * 0x1p27F);
  return distance < 32.0F ? key : kNeverDrawn;
}

/// 1 / temperature, finite. temperature > 0.
constexpr float inverse_temperature(float temperature) {
  const float inverse = 1.0F / temperature;
  return inverse < 3.402823466e38F ? inverse : 3.402823466e38F;
}

/// Probabilities are added as integers, so that no order of adding matters: the likeliest token's
/// mass is 2^40, below 28 nats it is 0.
constexpr float kMassOfLikeliest = 0x1p40F;

/// The least mass that is a share top_p of the total, and at least 1.
constexpr uint64_t needed_mass(float top_p, uint64_t total) {
  const double wanted = static_cast<double>(top_p) * static_cast<double>(total);
  if (!(wanted > 1.0)) return 1;
  if (wanted >= static_cast<double>(total)) return total;
  const auto whole = static_cast<uint64_t>(wanted);
  return static_cast<double>(whole) < wanted ? whole + 1 : whole;
}

}  // namespace hypenet::kernels
