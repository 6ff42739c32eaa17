module invoker/samples

go 1.26.0
