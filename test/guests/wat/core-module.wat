;; A core module: what older toolchains make.
(module (func (export "run")))
