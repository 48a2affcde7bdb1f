drop table refused_submissions;
