// The two exchanges, each with its mirror image in backward, and the ops around them.
#include "ops/row_parts.h"

#include <torch/autograd.h>

#include "ops/attention.h"
#include "ops/recurrence_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void keep(AutogradContext* context, const RowPartsPointer& row) {
  context->saved_data["row"] = c10::IValue::make_capsule(row);
}

RowPartsPointer kept_row(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<RowParts>(context->saved_data["row"].toCapsule());
}

/// x [B, n, ...] of a part's tokens -> [B, T, ...] of the whole rows.
Tensor whole_rows(const Tensor& x, const RowPartsPointer& row) {
  Tensor own = x.contiguous();
  if (x.size(1) < row->most_tokens()) {  // ranks exchange tensors of one size
    std::vector<int64_t> shape = x.sizes().vec();
    shape[1] = row->most_tokens() - x.size(1);
    own = torch::cat({x, torch::zeros(shape, x.options())}, 1);
  }
  const Tensor all = row->gather(own);
  std::vector<Tensor> parts;
  for (int64_t p = 0; p < row->count(); ++p) {
    parts.push_back(all[p].narrow(1, 0, row->tokens_of(p)));
  }
  return torch::cat(parts, 1);
}

/// x [B, T, ...] of whole rows on every rank -> [B, n, ...], their sum at a part's tokens.
Tensor sum_at_own_tokens(const Tensor& x, const RowPartsPointer& row) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[1] = row->most_tokens();
  shape.insert(shape.begin(), row->count());
  const Tensor for_all = torch::zeros(shape, x.options());
  for (int64_t p = 0; p < row->count(); ++p) {
    const int64_t n = row->tokens_of(p);
    for_all[p].narrow(1, 0, n).copy_(x.narrow(1, row->first_token(p), n));
  }
  return row->sum_own(for_all).narrow(1, 0, row->tokens_of(row->index()));
}

/// The two with gradients: each is the other's way back.
struct WholeRows : torch::autograd::Function<WholeRows> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const RowPartsPointer& row) {
    keep(context, row);
    return whole_rows(x, row);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {sum_at_own_tokens(gradients[0], kept_row(context)), Tensor()};
  }
};

struct SumAtOwnTokens : torch::autograd::Function<SumAtOwnTokens> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const RowPartsPointer& row) {
    keep(context, row);
    return sum_at_own_tokens(x, row);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {whole_rows(gradients[0], kept_row(context)), Tensor()};
  }
};

/// What of each part's final state is left before this part's first token, [count, 1, H, 1, 1]:
/// exp(-decay) to the number of tokens between them; nothing of this part's and later ones'.
Tensor left_of_states(const Tensor& decay, const RowParts& row) {
  const int64_t index = row.index(), H = decay.size(0);
  const Tensor left = torch::zeros({row.count(), 1, H, 1, 1}, decay.options());
  for (int64_t p = 0; p < index; ++p) {
    const int64_t between = row.first_token(index) - row.first_token(p + 1);
    left[p].copy_((decay * -between).exp_().view({1, H, 1, 1}));
  }
  return left;
}

/// Final states of all parts, each from a zero state, [B, H, dk, dv] -> the state before this part.
/// Backward: a part's gradient is what the later ones' states have of it.
struct StateBefore : torch::autograd::Function<StateBefore> {
  static Tensor forward(AutogradContext* context, const Tensor& state, const Tensor& decay,
                        const RowPartsPointer& row) {
    keep(context, row);
    const Tensor left = left_of_states(decay, *row);
    context->save_for_backward({left});
    return row->gather(state.contiguous()).mul_(left).sum(0);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor left = context->get_saved_variables()[0];
    return {kept_row(context)->sum_own((gradients[0].unsqueeze(0) * left).contiguous()), Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor row_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                     const RowPartsPointer& row) {
  const int64_t T = row->tokens(), H = q.size(2), G = k.size(2), chunks = 2 * row->count();
  const auto all = WholeRows::apply(torch::cat({q, k, v}, 2), row).split_with_sizes({H, G, G}, 2);
  // Later queries see more keys: of as many chunks a rank takes one from the front and one from the
  // back.
  std::vector<Tensor> outputs;
  int64_t done = 0;
  const auto add_zeros = [&](int64_t until) {
    outputs.push_back(torch::zeros({q.size(0), until - done, H, q.size(3)}, q.options()));
    done = until;
  };
  for (const int64_t chunk : {row->index(), chunks - 1 - row->index()}) {
    const int64_t first = T * chunk / chunks, end = T * (chunk + 1) / chunks;
    if (first == end) continue;  // fewer tokens than chunks
    add_zeros(first);
    outputs.push_back(causal_attention(all[0].narrow(1, first, end - first),
                                       all[1].narrow(1, 0, end), all[2].narrow(1, 0, end)));
    done = end;
  }
  add_zeros(T);
  return SumAtOwnTokens::apply(torch::cat(outputs, 1), row);
}

Tensor row_recurrence(const Recurrence& given, const RowPartsPointer& row) {
  check_recurrence(given);
  HYPENET_CHECK(has_constant_decay(given) && !given.offsets.defined() && !given.state.defined(),
                "recurrence of a row on several ranks: expected a constant decay per head and no "
                "state, found another one");
  Recurrence input = given;
  input.needs_state = true;
  const RecurrenceOutput own = recurrence(input);
  const Tensor decay = input.decay.to(sum_type(input.q));
  const Tensor before = StateBefore::apply(own.state, decay, row);
  const int64_t n = input.q.size(1);
  const Tensor time = torch::arange(1, n + 1, decay.options()).unsqueeze(1);
  const Tensor left =
      (time * -decay).exp_().unsqueeze(-1);  // of that state at each token, [n, H, 1]
  const torch::ScalarType type = input.q.scalar_type();
  const Tensor queries = (input.q * left.to(type)).transpose(1, 2);  // [B, H, n, dk]
  const Tensor earlier = torch::matmul(queries, (before * input.scale).to(type));
  return own.output + earlier.transpose(1, 2);
}

}  // namespace hypenet
