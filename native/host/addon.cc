#include "support.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  skerry::init_descriptors(env, exports);
  skerry::init_channel(env, exports);
  skerry::init_kvm(env, exports);
  skerry::init_namespaces(env, exports);
  skerry::init_oom_events(env, exports);
  skerry::init_pidfd(env, exports);
  skerry::init_steering(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(skerry_host, init)
