// The sum over equal ids is libtorch's, which sorts them first: the same bits every time.
#include "ops/embedding.h"

#include <torch/autograd.h>

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct EmbeddingFunction : torch::autograd::Function<EmbeddingFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& table, const Tensor& ids,
                        const Tensor& copy) {
    context->save_for_backward({ids});
    context->saved_data["rows"] = table.size(0);
    context->saved_data["type"] = static_cast<int64_t>(table.scalar_type());
    return torch::embedding(copy, ids);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
    return {at::embedding_dense_backward(gradients[0].to(type), context->get_saved_variables()[0],
                                         context->saved_data["rows"].toInt(), /*padding_idx=*/-1,
                                         /*scale_grad_by_freq=*/false),
            Tensor(), Tensor()};
  }
};

}  // namespace

Tensor embedding(const Weight& table, const Tensor& ids) {
  if (table.packed) {
    std::vector<int64_t> shape = ids.sizes().vec();
    shape.push_back(table.packed->columns());
    return expand_rows(*table.packed, ids.flatten()).view(shape);
  }
  if (!table.copy.defined()) return torch::embedding(table.master, ids);
  return EmbeddingFunction::apply(table.master, ids, table.copy);
}

}  // namespace hypenet
