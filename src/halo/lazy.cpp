// Attention probabilities exist for a few queries of one row at a time.
#include "halo/lazy.h"

#include <cmath>

#include "eval/shared.h"
#include "model/mixers/attention.h"
#include "model/token_ids.h"

namespace hypenet {
namespace {

void check(const LazyConfig& config, int64_t T) {
  HYPENET_CHECK(config.queries > 0 && config.first >= 0 && config.recent >= 0 &&
                    config.queries <= T && config.first + config.recent < T,
                "lazy: expected at most ", T,
                " queries and fewer first and recent tokens than the ", T, " of a row, found ",
                config.queries, ", ", config.first, " and ", config.recent);
}

/// lazy_mass of every layer.
std::vector<double> masses_of_row(CausalLm& teacher, const ScoredRow& row,
                                  const LazyConfig& config) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = ids_tensor(row.ids, teacher->head_weight().device()).unsqueeze(0);
  const Context context = teacher->context(ids);
  Residual h = {teacher->embed(ids)};
  std::vector<double> masses;
  for (int64_t i = 0; i < teacher->config().num_hidden_layers; ++i) {
    Block& block = teacher->layer(i);
    const auto [sum, input] = block->mixer_input(h);
    auto& mixer = dynamic_cast<AttentionMixer&>(block->mixer());
    const auto heads = mixer.heads(input, context);
    masses.push_back(lazy_mass(heads.q, heads.k, config));
    h = block->finish(sum, mixer.forward(input, context), context);
  }
  return masses;
}

}  // namespace

double lazy_mass(const Tensor& q, const Tensor& k, const LazyConfig& config) {
  const int64_t T = k.size(1), n = config.queries, group = q.size(2) / k.size(2);
  check(config, T);
  const Tensor time = torch::arange(T, q.options().dtype(torch::kInt64));
  const Tensor is_hidden = time.unsqueeze(0) > time.slice(0, T - n).unsqueeze(1);  // [n, T]
  const Tensor is_near = (time < config.first) | (time >= T - config.recent);      // [T]
  double sum = 0;
  for (int64_t row = 0; row < q.size(0); ++row) {
    const Tensor last = q[row].slice(0, T - n).to(torch::kFloat32).transpose(0, 1);  // [H, n, d]
    const Tensor keys = k[row].to(torch::kFloat32).transpose(0, 1).repeat_interleave(group, 0);
    const Tensor logits = last.matmul(keys.transpose(1, 2)) / std::sqrt(double(q.size(3)));
    const Tensor shares = torch::softmax(logits.masked_fill(is_hidden, -INFINITY), -1);
    sum += (shares * is_near).sum(-1).mean().item<double>();
  }
  return sum / static_cast<double>(q.size(0));
}

std::vector<double> lazy_masses(CausalLm& teacher, const std::vector<ScoredRow>& rows,
                                const LazyConfig& config, Communicator& ranks) {
  const auto layers = static_cast<size_t>(teacher->config().num_hidden_layers);
  const auto [index, count] = ranks.ranks();
  std::vector<double> own;
  for (auto row = static_cast<size_t>(index); row < rows.size();
       row += static_cast<size_t>(count)) {
    for (const double mass : masses_of_row(teacher, rows[row], config)) own.push_back(mass);
    ranks.give_sign();
  }
  const std::vector<double> all = gather_dealt(own, layers, ranks);
  std::vector<double> means(layers, 0.0);
  for (size_t i = 0; i < all.size(); ++i) {
    means[i % layers] += all[i] / static_cast<double>(rows.size());
  }
  return means;
}

}  // namespace hypenet
