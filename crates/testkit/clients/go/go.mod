module agentsight.test/post

go 1.19
