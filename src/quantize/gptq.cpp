// Within a block of columns each row goes by itself; the columns behind it learn of a block's
// errors by one product ("lazy batch-updates", section 3.3 of the paper).
#include "quantize/gptq.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "base/error.h"
#include "ops/linear.h"
#include "quantize/clip_search.h"

namespace hypenet {
namespace {

constexpr int64_t kBlock = 128;  // columns, or fewer (block_columns)
constexpr int64_t kGrain = 8;    // rows a task at least

/// Columns of a block, so that groups begin where blocks do; one group is all columns' at once.
int64_t block_columns(int64_t group, int64_t K) {
  if (group >= K) return kBlock;
  if (group <= kBlock) return kBlock / group * group;
  int64_t block = kBlock;
  while (group % block != 0) --block;
  return block;
}

/// The inverse of a lower triangle (float64) as float32, by halves: libtorch's, which multiplies
/// the zeros, too, takes three times as long. What float32 leaves off grows with the condition of
/// the triangle, which is the root of H's.
Tensor inverse_of_lower(const Tensor& lower) {
  constexpr int64_t kSmall = 256;
  const int64_t K = lower.size(0), half = K / 2;
  if (K <= kSmall) {
    return at::linalg_solve_triangular(lower, torch::eye(K, lower.options()), /*upper=*/false)
        .to(torch::kFloat32);
  }
  const Tensor first = inverse_of_lower(lower.slice(0, 0, half).slice(1, 0, half));
  const Tensor last = inverse_of_lower(lower.slice(0, half).slice(1, half));
  const Tensor between = lower.slice(0, half).slice(1, 0, half).to(torch::kFloat32).contiguous();
  // last (between first), the transpose of whose right factor is first^T between^T.
  const Tensor below = product(last, product(first.t(), between));
  const Tensor inverse = torch::zeros({K, K}, torch::kFloat32);
  inverse.slice(0, 0, half).slice(1, 0, half).copy_(first);
  inverse.slice(0, half).slice(1, half).copy_(last);
  inverse.slice(0, half).slice(1, 0, half).copy_(below.neg_());
  return inverse;
}

/// U of H^-1 = U^T U, upper: with the order of columns turned round, H = L L^T gives U = L^-1.
Tensor upper_factor(const Tensor& hessian, const std::string& place) {
  const auto [lower, info] = at::linalg_cholesky_ex(hessian.flip({0, 1}));
  HYPENET_CHECK(info.item<int32_t>() == 0, place,
                ": expected products of inputs that are positive definite, found others");
  return inverse_of_lower(lower).flip({0, 1}).contiguous();
}

/// A matrix on its way from numbers to codes.
class GptqRounding {
 public:
  GptqRounding(const Tensor& weight, const RoundingForm& form, const GptqFactor& factor,
               const GptqOptions& options)
      : form_(form),
        factor_(factor),
        searches_(options.searches_clip),
        N_(weight.size(0)),
        K_(weight.size(1)),
        group_(group_size(form, K_)),
        groups_(K_ / group_) {
    // A copy in any case: it changes.
    weight_ = weight.to(torch::kFloat64, false, /*copy=*/true).contiguous();
    scales_ = torch::empty({N_, groups_}, torch::kFloat32);
    zeros_ = torch::zeros({N_, groups_}, torch::kInt16);
    codes_ = torch::empty({N_, K_}, torch::kInt8);
    if (!factor.order.defined()) return;
    take_scales_of_all();
    weight_ = weight_.index_select(1, factor.order);
  }

  QuantisedMatrix run() {
    const int64_t block = factor_.order.defined() ? kBlock : block_columns(group_, K_);
    for (int64_t begin = 0; begin < K_; begin += block) {
      round_block(begin, std::min(begin + block, K_));
    }
    return {.type = form_.type,
            .rows = N_,
            .columns = K_,
            .group = group_,
            .codes = stored_codes(),
            .scales = scales_.to(form_.scale_type),
            .zeros = form_.has_zeros ? zeros_ : Tensor()};
  }

 private:
  void take_scales_of_all() {
    const RoundingScales found = searches_ ? search_scales(weight_, factor_.importance, form_)
                                           : scales_of(weight_.to(torch::kFloat32), form_);
    scales_ = found.scales.to(torch::kFloat32);
    if (form_.has_zeros) zeros_ = found.zeros.contiguous();
  }

  void round_block(int64_t begin, int64_t end) {
    const Tensor errors = torch::empty({N_, end - begin}, torch::kFloat64);
    at::parallel_for(0, N_, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t n = first; n < last; ++n) {
        round_row(n, begin, end, errors.data_ptr<double>() + n * (end - begin));
      }
    });
    if (end == K_) return;
    const Tensor later = factor_.upper.narrow(0, begin, end - begin).narrow(1, end, K_ - end);
    weight_.narrow(1, end, K_ - end)
        .sub_(product(errors.to(torch::kFloat32), later.t().contiguous()));
  }

  /// As QuantisedMatrix has them, in the columns' own order.
  Tensor stored_codes() const {
    Tensor codes = codes_;
    if (factor_.order.defined()) {
      codes = torch::empty_like(codes_).index_copy_(1, factor_.order, codes_);
    }
    switch (form_.type) {
      case CodeType::kInt4:
        return pack_int4(codes);
      case CodeType::kInt8:
        return codes;
      case CodeType::kFloat8:
        return codes.view(torch::kFloat8_e4m3fn);
    }
    throw Error("code type: expected one of CodeType");
  }

  /// Columns begin .. end - 1 of row n, whose errors, each divided by U's diagonal, it leaves.
  void round_row(int64_t n, int64_t begin, int64_t end, double* errors) {
    double* const w = weight_.data_ptr<double>() + n * K_;
    int8_t* const codes = codes_.data_ptr<int8_t>() + n * K_;
    for (int64_t k = begin; k < end; ++k) {
      const GroupScale scale = scale_at(n, k, w);
      codes[k] = nearest_code(form_.type, w[k], scale);
      const float* const row = factor_.upper.const_data_ptr<float>() + k * K_;
      const double error = (w[k] - code_value(form_.type, codes[k], scale)) / row[k];
      for (int64_t later = k + 1; later < end; ++later) w[later] -= error * row[later];
      errors[k - begin] = error;
    }
  }

  /// The scale of the column that is k-th in line, found now where its group begins there.
  GroupScale scale_at(int64_t n, int64_t k, const double* w) {
    const int64_t column = factor_.order.defined() ? factor_.order.const_data_ptr<int64_t>()[k] : k;
    const int64_t at = n * groups_ + column / group_;
    float& scale = scales_.data_ptr<float>()[at];
    int16_t& zero = zeros_.data_ptr<int16_t>()[at];
    if (!factor_.order.defined() && k % group_ == 0) {
      const auto size = static_cast<size_t>(group_);
      const double* const importance = factor_.importance.const_data_ptr<double>() + k;
      const GroupScale found =
          find_group_scale({w + k, size}, {importance, size}, form_, searches_);
      scale = found.scale, zero = static_cast<int16_t>(found.zero);
    }
    return {scale, zero};
  }

  const RoundingForm form_;
  const GptqFactor& factor_;
  const bool searches_;
  const int64_t N_, K_, group_, groups_;
  Tensor weight_;          // float64 [N, K] in the order of rounding; columns to come change
  Tensor scales_, zeros_;  // [N, groups] float32 (numbers of bfloat16), int16
  Tensor codes_;           // int8 [N, K] in the order of rounding: codes or their bits
};

}  // namespace

GptqFactor gptq_factor(const Tensor& hessian, const GptqOptions& options,
                       const std::string& place) {
  GptqFactor factor{.importance = hessian.diagonal().contiguous()};
  HYPENET_CHECK(torch::isfinite(hessian).all().item<bool>(), place,
                ": expected inputs that are finite, found others");
  Tensor damped = hessian.clone();
  damped.diagonal().add_(options.damping * factor.importance.mean());
  // An input that is always 0 matters to nobody; 1 keeps its column's errors its own.
  damped.diagonal().masked_fill_(factor.importance == 0, 1);
  if (options.orders_columns) {
    factor.order = factor.importance.argsort(/*stable=*/true, 0, /*descending=*/true);
    damped = damped.index_select(0, factor.order).index_select(1, factor.order);
  }
  factor.upper = upper_factor(damped, place);
  return factor;
}

Tensor toward_original(const Tensor& weight, const Tensor& shift, const GptqFactor& factor,
                       double correction) {
  Tensor moved = product(weight, shift.t().to(torch::kFloat32).contiguous());
  if (factor.order.defined()) moved = moved.index_select(1, factor.order);
  moved = product(product(moved, factor.upper), factor.upper.t().contiguous());
  if (factor.order.defined()) {
    moved = torch::empty_like(moved).index_copy_(1, factor.order, moved);
  }
  return weight + moved.mul_(correction);
}

QuantisedMatrix round_by_gptq(const Tensor& weight, const RoundingForm& form,
                              const GptqFactor& factor, const GptqOptions& options) {
  HYPENET_CHECK(form.scale_rows == 1 && weight.size(1) % group_size(form, weight.size(1)) == 0,
                "gptq: expected groups that divide ", weight.size(1), " columns of one row, found ",
                form.group, " columns of ", form.scale_rows);
  return GptqRounding(weight, form, factor, options).run();
}

}  // namespace hypenet
