// Piecewise cross-entropy and KL. Logits of a piece are overwritten by their gradient.
#include "train/losses.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "ops/linear.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Elements of a piece's logits: small enough for a CPU's cache, large enough to fill a GPU.
int64_t piece_tokens(const Tensor& hidden, int64_t vocabulary, int64_t piece) {
  if (piece > 0) return piece;
  const int64_t elements = hidden.is_cuda() ? int64_t{1} << 28 : int64_t{1} << 20;
  return std::max<int64_t>(1, elements / vocabulary);
}

/// Sums and softmax run in float32, or float64 for float64 input.
torch::ScalarType sum_type(const Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

struct LossAndGradients {
  Tensor loss, hidden, weight;
};

/// Given a piece's logits [n, V] and its first token, returns the summed loss and turns the logits
/// into dloss/dlogits.
using PieceLoss = std::function<Tensor(Tensor& logits, int64_t first)>;

LossAndGradients over_pieces(const Tensor& hidden, const Tensor& weight, int64_t piece,
                             const PieceLoss& piece_loss) {
  const int64_t tokens = hidden.size(0);
  const auto type = sum_type(hidden);
  const double scale = 1.0 / static_cast<double>(tokens);
  const Tensor head = weight.to(hidden.scalar_type());
  Tensor loss = torch::zeros({}, hidden.options().dtype(type));
  Tensor hidden_gradient = torch::empty_like(hidden);
  Tensor weight_gradient = torch::zeros(weight.sizes(), hidden.options().dtype(type));
  for (int64_t first = 0; first < tokens; first += piece) {
    const Tensor part = hidden.narrow(0, first, std::min(piece, tokens - first));
    Tensor logits = product(part, head).to(type);
    loss += piece_loss(logits, first);
    const Tensor gradient = logits.mul_(scale).to(hidden.scalar_type());
    hidden_gradient.narrow(0, first, part.size(0)).copy_(product(gradient, head.t()));
    weight_gradient += product(part.t(), gradient.t()).t();
  }
  return {loss * scale, hidden_gradient, weight_gradient.to(weight.scalar_type())};
}

/// log softmax in place: logits become their log-probabilities.
void log_softmax_in_place(Tensor& logits) { at::_log_softmax_out(logits, logits, -1, false); }

class Loss : public torch::autograd::Function<Loss> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight,
                        int64_t piece, const PieceLoss& piece_loss) {
    const auto result = over_pieces(hidden, weight, piece, piece_loss);
    context->save_for_backward({result.hidden, result.weight});
    return result.loss;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    return {saved[0] * gradients[0], saved[1] * gradients[0], Tensor(), Tensor()};
  }
};

void check_head(const char* name, const Tensor& hidden, const Tensor& weight) {
  HYPENET_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), name,
                ": expected hidden [N, D] and weight [V, D], found ", hidden.sizes(), " and ",
                weight.sizes());
  HYPENET_CHECK(hidden.size(0) > 0, name, ": expected at least one token, found none");
}

}  // namespace

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            int64_t piece) {
  check_head("cross-entropy", hidden, weight);
  HYPENET_CHECK(targets.dim() == 1 && targets.size(0) == hidden.size(0),
                "cross-entropy: expected targets [", hidden.size(0), "], found ", targets.sizes());
  const PieceLoss piece_loss = [&](Tensor& logits, int64_t first) {
    const Tensor target = targets.narrow(0, first, logits.size(0)).unsqueeze(1);
    log_softmax_in_place(logits);
    const Tensor loss = logits.gather(1, target).sum().neg();
    logits.exp_().scatter_add_(1, target,
                               torch::full({1, 1}, -1, logits.options()).expand_as(target));
    return loss;
  };
  return Loss::apply(hidden, weight, piece_tokens(hidden, weight.size(0), piece), piece_loss);
}

Tensor linear_kl(const Tensor& hidden, const Tensor& weight, const Tensor& teacher_hidden,
                 const Tensor& teacher_weight, int64_t piece) {
  check_head("KL", hidden, weight);
  check_head("KL teacher", teacher_hidden, teacher_weight);
  HYPENET_CHECK(teacher_hidden.size(0) == hidden.size(0), "KL: expected as many teacher tokens as ",
                hidden.size(0), ", found ", teacher_hidden.size(0));
  HYPENET_CHECK(teacher_weight.size(0) == weight.size(0),
                "KL: expected the teacher's vocabulary to be ", weight.size(0), ", found ",
                teacher_weight.size(0));
  const Tensor head = teacher_weight.detach().to(teacher_hidden.scalar_type());
  const PieceLoss piece_loss = [&](Tensor& logits, int64_t first) {
    const Tensor part = teacher_hidden.detach().narrow(0, first, logits.size(0));
    Tensor teacher = product(part, head).to(logits.scalar_type());
    log_softmax_in_place(teacher);
    log_softmax_in_place(logits);
    const Tensor probability = teacher.exp();
    const Tensor loss = (probability * teacher.sub_(logits)).sum();
    logits.exp_().sub_(probability);
    return loss;
  };
  return Loss::apply(hidden, weight, piece_tokens(hidden, weight.size(0), piece), piece_loss);
}

}  // namespace hypenet
